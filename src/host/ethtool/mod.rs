//! Offloads, channels and receive-side scaling of an interface, over ethtool netlink (Linux 5.6 and later). Numbers and layouts
//! are those of `linux/ethtool_netlink.h` and the kernel's Documentation/networking/ethtool-netlink.rst.

use std::collections::BTreeMap;

use netlink_packet_core::DecodeError;

use super::{
    HostError, Link,
    genl::{Connection, Message, attribute, attributes, nested, number, text},
};

/// The features that leave the checksum of what is sent to the device.
const TX_CHECKSUMS: [&str; 4] = ["tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-sctp"];

/// The features that let a frame larger than the MTU reach the device, to be cut up there.
const SUPER_FRAMES: [&str; 8] = [
    "tx-generic-segmentation",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-tcp-accecn-segmentation",
    "tx-udp-segmentation",
    "tx-sctp-segmentation",
];

/// The features that keep a VLAN tag beside the frame instead of in it.
const VLAN: [&str; 4] = ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert", "rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// Generic receive offload; on a veth, it is what makes the interface run NAPI.
const GRO: &str = "rx-gro";

/// The offloads of an interface, by the kernel's own names, as `ethtool -k` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    all: BTreeMap<String, Feature>,
}

/// One offload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feature {
    /// Whether it is on.
    pub on: bool,
    /// Whether it can be turned on and off; if not, it is `[fixed]`.
    pub changeable: bool,
}

impl Features {
    /// The offload of that name, or `None` if this kernel knows none.
    pub fn get(&self, name: &str) -> Option<Feature> {
        self.all.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Feature)> {
        self.all.iter().map(|(name, feature)| (name.as_str(), *feature))
    }

    /// Whether checksums of some protocol are left to the device when sending.
    pub fn offloads_tx_checksums(&self) -> bool {
        self.any_on(&TX_CHECKSUMS)
    }

    /// Whether frames larger than the MTU may be handed to the device.
    pub fn sends_super_frames(&self) -> bool {
        self.any_on(&SUPER_FRAMES)
    }

    /// Whether VLAN tags are kept beside the frame.
    pub fn offloads_vlan_tags(&self) -> bool {
        self.any_on(&VLAN)
    }

    /// Whether received segments are merged before the kernel's stack sees them.
    pub fn has_gro(&self) -> bool {
        self.any_on(&[GRO])
    }

    fn any_on(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some_and(|feature| feature.on))
    }
}

impl FromIterator<(String, Feature)> for Features {
    fn from_iter<I: IntoIterator<Item = (String, Feature)>>(features: I) -> Self {
        Self { all: features.into_iter().collect() }
    }
}

/// The settings under which a kernel peer sends frames as they would be on a wire: complete checksums, nothing larger
/// than the MTU, tags in the frame; and receives by NAPI.
pub fn plain_wire() -> impl Iterator<Item = (&'static str, bool)> {
    let off = TX_CHECKSUMS.iter().chain(&SUPER_FRAMES).chain(&VLAN).map(|name| (*name, false));
    off.chain([(GRO, true)])
}

/// The settings of [`plain_wire`], without merging of what is received either: every frame on the link is a segment for TCP.
pub fn no_offloads() -> impl Iterator<Item = (&'static str, bool)> {
    plain_wire().map(|(name, on)| (name, on && name != GRO))
}

/// How many queues an interface uses, and how many it could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Receive queues in use.
    pub rx: u32,
    /// Transmit queues in use.
    pub tx: u32,
    /// The most receive queues the device allows.
    pub rx_max: u32,
    /// The most transmit queues the device allows.
    pub tx_max: u32,
}

/// How received frames are spread over the queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rss {
    /// The queue for each value of the hash's low bits; empty if the device has no table.
    pub indirection: Vec<u32>,
    /// The key of the hash function, in bytes as they are.
    pub key: Vec<u8>,
    /// Whether the hash function is Toeplitz', and of the packet's fields as they are.
    pub is_toeplitz: bool,
}

/// What is asked of the kernel. Where request and reply have different numbers, this is the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    FeaturesGet = 11,
    FeaturesSet = 12,
    ChannelsGet = 17,
    RssGet = 38,
}

/// `ETHTOOL_A_HEADER_DEV_INDEX` and `ETHTOOL_A_HEADER_FLAGS`, in the header that is attribute 1 of every message.
const HEADER: u16 = 1;
const HEADER_DEV_INDEX: u16 = 1;
const HEADER_FLAGS: u16 = 3;
/// `ETHTOOL_FLAG_OMIT_REPLY`: an acknowledgement is enough.
const FLAG_OMIT_REPLY: u32 = 1 << 1;

/// A question or an order about an interface.
fn about(index: u32, verb: Verb) -> Message {
    let flags = if verb == Verb::FeaturesSet { FLAG_OMIT_REPLY } else { 0 };
    let header = [attribute(HEADER_DEV_INDEX, &index.to_ne_bytes()), attribute(HEADER_FLAGS, &flags.to_ne_bytes())];
    Message::new(verb as u8, nested(HEADER, &header.concat()))
}

/// A connection to the kernel's ethtool family, for the network namespace of the thread that opened it.
pub struct Ethtool {
    connection: Connection,
}

impl Ethtool {
    /// Opens the connection.
    ///
    /// # Errors
    /// If the kernel has no ethtool netlink (before 5.6).
    pub fn open() -> Result<Self, HostError> {
        Ok(Self { connection: Connection::open("ethtool")? })
    }

    /// The offloads of an interface.
    ///
    /// # Errors
    /// The kernel's refusal, or a reply that makes no sense.
    pub fn features(&mut self, link: &Link) -> Result<Features, HostError> {
        let what = format!("read the features of {}", link.name);
        let reply = self.connection.request(&what, about(link.index, Verb::FeaturesGet))?;
        parse_features(&reply).map_err(|error| misunderstood(what, &error))
    }

    /// Turns offloads on and off, and reads them back. Names this kernel does not know are off already; so they are an
    /// error only if wanted on.
    ///
    /// # Errors
    /// [`HostError::FixedFeature`] for the first that is not as wanted afterwards, or the kernel's refusal.
    pub fn set_features(
        &mut self,
        link: &Link,
        wanted: impl IntoIterator<Item = (&'static str, bool)>,
    ) -> Result<Features, HostError> {
        let before = self.features(link)?;
        let wanted: Vec<_> = wanted.into_iter().collect();
        let changes: Vec<_> = wanted.iter().copied().filter(|(name, on)| !before.is(name, *on)).collect();
        if changes.is_empty() {
            return Ok(before);
        }
        let known = changes.iter().copied().filter(|(name, _)| before.get(name).is_some());
        let what = format!("change the features of {}", link.name);
        self.connection.request(&what, features_request(link.index, known))?;
        let after = self.features(link)?;
        match wanted.iter().find(|(name, on)| !after.is(name, *on)) {
            Some((name, on)) => {
                Err(HostError::FixedFeature { interface: link.name.clone(), feature: (*name).to_owned(), on: *on })
            }
            None => Ok(after),
        }
    }

    /// The queues of an interface, or `None` if its driver does not tell.
    ///
    /// # Errors
    /// The kernel's refusal, or a reply that makes no sense.
    pub fn channels(&mut self, link: &Link) -> Result<Option<Channels>, HostError> {
        let what = format!("read the channels of {}", link.name);
        let reply = self.connection.request(&what, about(link.index, Verb::ChannelsGet));
        let Some(reply) = unless_unsupported(reply)? else {
            return Ok(None);
        };
        parse_channels(&reply).map(Some).map_err(|error| misunderstood(what, &error))
    }

    /// How an interface spreads what it receives, or `None` if its driver or this kernel (before 6.2) does not tell.
    ///
    /// # Errors
    /// The kernel's refusal, or a reply that makes no sense.
    pub fn rss(&mut self, link: &Link) -> Result<Option<Rss>, HostError> {
        let what = format!("read the receive-side scaling of {}", link.name);
        let reply = self.connection.request(&what, about(link.index, Verb::RssGet));
        let Some(reply) = unless_unsupported(reply)? else {
            return Ok(None);
        };
        parse_rss(&reply).map(Some).map_err(|error| misunderstood(what, &error))
    }
}

impl Features {
    fn is(&self, name: &str, on: bool) -> bool {
        self.get(name).unwrap_or_default().on == on
    }
}

fn unless_unsupported(reply: Result<Vec<u8>, HostError>) -> Result<Option<Vec<u8>>, HostError> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn misunderstood(what: String, error: &DecodeError) -> HostError {
    HostError::Reply { what, why: error.to_string() }
}

/// `ETHTOOL_A_FEATURES_*`, and of a bitset in its verbose form `ETHTOOL_A_BITSET_BITS`, `_BITS_BIT` and `_BIT_*`.
const FEATURES_HW: u16 = 2;
const FEATURES_WANTED: u16 = 3;
const FEATURES_ACTIVE: u16 = 4;
const FEATURES_NOCHANGE: u16 = 5;
const BITSET_NOMASK: u16 = 1;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

fn features_request(index: u32, changes: impl Iterator<Item = (&'static str, bool)>) -> Message {
    let mut bits = Vec::new();
    for (name, on) in changes {
        let mut bit = attribute(BIT_NAME, &[name.as_bytes(), &[0]].concat());
        if on {
            bit.extend(attribute(BIT_VALUE, &[]));
        }
        bits.extend(nested(BITS_BIT, &bit));
    }
    about(index, Verb::FeaturesSet).with(&nested(FEATURES_WANTED, &nested(BITSET_BITS, &bits)))
}

fn parse_features(reply: &[u8]) -> Result<Features, DecodeError> {
    let mut all: BTreeMap<String, Feature> = BTreeMap::new();
    let mut fixed = Vec::new();
    for attribute in attributes(reply) {
        let (kind, value) = attribute?;
        match kind {
            // Every feature has a bit here; the value says whether the driver lets it be changed.
            FEATURES_HW => parse_bitset(value, |name, set| all.entry(name).or_default().changeable = set)?,
            FEATURES_ACTIVE => parse_bitset(value, |name, set| all.entry(name).or_default().on = set)?,
            FEATURES_NOCHANGE => parse_bitset(value, |name, set| fixed.extend(set.then_some(name)))?,
            _ => {}
        }
    }
    for name in fixed {
        all.entry(name).or_default().changeable = false;
    }
    Ok(Features { all })
}

fn parse_bitset(bitset: &[u8], mut each: impl FnMut(String, bool)) -> Result<(), DecodeError> {
    let mut is_list = false;
    for attribute in attributes(bitset) {
        let (kind, bits) = attribute?;
        // Without a mask, the bits are a list of those that are set; with one, those that are not are told too.
        is_list |= kind == BITSET_NOMASK;
        if kind != BITSET_BITS {
            continue;
        }
        for bit in attributes(bits) {
            let (mut name, mut set) = (String::new(), is_list);
            for attribute in attributes(bit?.1) {
                match attribute? {
                    (BIT_NAME, value) => name = text(value),
                    (BIT_VALUE, _) => set = true,
                    _ => {}
                }
            }
            each(name, set);
        }
    }
    Ok(())
}

/// `ETHTOOL_A_CHANNELS_*`: maxima are 2 to 5, counts are 6 to 9, in the order rx, tx, other, combined.
fn parse_channels(reply: &[u8]) -> Result<Channels, DecodeError> {
    let mut channels = Channels::default();
    for attribute in attributes(reply) {
        let (kind, value) = attribute?;
        match kind {
            2 => channels.rx_max += number(value)?,
            3 => channels.tx_max += number(value)?,
            6 => channels.rx += number(value)?,
            7 => channels.tx += number(value)?,
            5 => {
                channels.rx_max += number(value)?;
                channels.tx_max += number(value)?;
            }
            9 => {
                channels.rx += number(value)?;
                channels.tx += number(value)?;
            }
            _ => {}
        }
    }
    Ok(channels)
}

/// `ETHTOOL_A_RSS_HFUNC` is 3, of which the lowest bit stands for Toeplitz; `_INDIR` is 4, an array of `u32`; `_HKEY` is 5, bytes;
/// `_INPUT_XFRM` is 6, zero where the fields are hashed as they are.
fn parse_rss(reply: &[u8]) -> Result<Rss, DecodeError> {
    let mut rss = Rss::default();
    let (mut function, mut transformation) = (0, 0);
    for attribute in attributes(reply) {
        match attribute? {
            (3, value) => function = number(value)?,
            (4, value) => rss.indirection = value.chunks(4).map(number).collect::<Result<_, _>>()?,
            (5, value) => rss.key = value.to_vec(),
            (6, value) => transformation = number(value)?,
            _ => {}
        }
    }
    rss.is_toeplitz = function & 1 == 1 && transformation == 0;
    Ok(rss)
}

#[cfg(test)]
mod tests;
