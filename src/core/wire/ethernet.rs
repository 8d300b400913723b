//! Ethernet II with up to two VLAN tags (IEEE 802.1Q, 802.1ad).

use super::InterfaceId;
use crate::drops::DropReason;
use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Bytes of an Ethernet header without tags.
pub const HEADER_LEN: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG_LEN: usize = 4;
/// Tags that a frame may carry.
pub const MAX_TAGS: usize = 2;

const TPID_CUSTOMER: u16 = 0x8100;
const TPID_SERVICE: u16 = 0x88a8;
/// The part of a tag's control information that names the VLAN.
const VLAN_ID: u16 = 0xfff;

/// The VLANs there are (IEEE 802.1Q §9.6): 0 stands for none, and 4,095 is reserved.
pub const VLAN_IDS: RangeInclusive<u16> = 1..=4_094;

/// EtherType of ARP.
pub const ETHER_TYPE_ARP: u16 = 0x0806;
/// EtherType of IPv4.
pub const ETHER_TYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHER_TYPE_IPV6: u16 = 0x86dd;

/// A 48-bit station or group address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this names a group of stations: multicast or broadcast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Six octets in hexadecimal, as in `02:00:5e:10:00:01`.
impl FromStr for MacAddress {
    type Err = NoMacAddress;

    fn from_str(text: &str) -> Result<Self, NoMacAddress> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let digits = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+')).ok_or(NoMacAddress)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| NoMacAddress)?;
        }
        if parts.next().is_none() { Ok(Self(octets)) } else { Err(NoMacAddress) }
    }
}

/// What was given is not the address of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a link address has six octets in hexadecimal, such as 02:00:5e:10:00:01")]
pub struct NoMacAddress;

/// One VLAN tag: protocol identifier and control information, as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// 0x8100 (802.1Q) or 0x88a8 (802.1ad).
    pub protocol: u16,
    /// Priority, drop eligibility and the 12-bit VLAN identifier.
    pub control: u16,
}

/// The tags of a frame, outermost first. What comes in with tags is answered with the same ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanTags {
    count: u8,
    tags: [VlanTag; MAX_TAGS],
}

impl VlanTags {
    /// The tags of frames of a VLAN: one, or none outside of any.
    pub fn of(vlan: Option<u16>) -> Self {
        let untagged = Self::default();
        let tag = vlan.map(|control| VlanTag { protocol: TPID_CUSTOMER, control });
        tag.and_then(|tag| untagged.with(tag)).unwrap_or(untagged)
    }

    /// Whether a frame with these tags is of `vlan`, or of none. A tag of VLAN 0 says a priority only, and the frame counts as
    /// untagged (IEEE 802.1Q §9.6); a provider's tag and a second one make it another network's.
    #[inline]
    pub fn are_of(&self, vlan: Option<u16>) -> bool {
        match self.as_slice() {
            [] => vlan.is_none(),
            [tag] => tag.protocol == TPID_CUSTOMER && tag.control & VLAN_ID == vlan.unwrap_or(0),
            _ => false,
        }
    }

    /// The tags, outermost first.
    pub fn as_slice(&self) -> &[VlanTag] {
        &self.tags[..usize::from(self.count)]
    }

    /// Adds an inner tag; `None` where there are two already.
    #[must_use]
    pub fn with(mut self, tag: VlanTag) -> Option<Self> {
        *self.tags.get_mut(usize::from(self.count))? = tag;
        self.count += 1;
        Some(self)
    }

    /// Reads the tags in front of an EtherType: themselves, that, and what follows.
    fn parse(mut bytes: &[u8]) -> Result<(Self, u16, &[u8]), DropReason> {
        let mut tags = Self::default();
        loop {
            let (protocol, behind) = split_u16(bytes)?;
            if !is_tag(protocol) {
                return Ok((tags, protocol, behind));
            }
            let (control, behind) = split_u16(behind)?;
            tags = tags.with(VlanTag { protocol, control }).ok_or(DropReason::TooManyVlanTags)?;
            bytes = behind;
        }
    }
}

/// A tag of this VLAN, as on the wire.
pub fn tag_of(vlan: u16) -> [u8; TAG_LEN] {
    let ([a, b], [c, d]) = (TPID_CUSTOMER.to_be_bytes(), vlan.to_be_bytes());
    [a, b, c, d]
}

/// Where a frame comes from and where it goes on the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkHeader {
    /// The station or group it is for.
    pub destination: MacAddress,
    /// The station it comes from.
    pub source: MacAddress,
    /// Its VLAN tags.
    pub vlan: VlanTags,
    /// The interface it came in by or leaves by, which is not on the wire: the default where it was only parsed.
    pub interface: InterfaceId,
}

#[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
impl LinkHeader {
    /// Bytes on the wire, tags included.
    pub fn len(&self) -> usize {
        HEADER_LEN + TAG_LEN * usize::from(self.vlan.count)
    }

    /// The header of an answer that `ours` sends back the way the frame came, by the same interface.
    #[must_use]
    pub fn answered_by(&self, ours: MacAddress) -> Self {
        Self { destination: self.source, source: ours, vlan: self.vlan, interface: self.interface }
    }

    /// Reads the header: itself, the EtherType behind the tags, and what follows.
    ///
    /// # Errors
    /// [`DropReason::TruncatedEthernet`], [`DropReason::TooManyVlanTags`] or [`DropReason::GroupSourceMac`].
    pub fn parse(frame: &[u8]) -> Result<(Self, u16, &[u8]), DropReason> {
        Self::parse_some::<false>(frame)
    }

    /// As [`LinkHeader::parse`], but tags are refused where only what is `USUAL` is wanted.
    #[inline(always)]
    pub(super) fn parse_some<const USUAL: bool>(frame: &[u8]) -> Result<(Self, u16, &[u8]), DropReason> {
        let (destination, rest) = frame.split_first_chunk().ok_or(DropReason::TruncatedEthernet)?;
        let (source, rest) = rest.split_first_chunk().ok_or(DropReason::TruncatedEthernet)?;
        let (destination, source) = (MacAddress(*destination), MacAddress(*source));
        if source.is_group() {
            return Err(DropReason::GroupSourceMac);
        }
        let (ether_type, behind) = split_u16(rest)?;
        if !is_tag(ether_type) {
            return Ok((Self { destination, source, ..Self::default() }, ether_type, behind));
        }
        if USUAL {
            return Err(DropReason::TooManyVlanTags);
        }
        let (vlan, ether_type, behind) = VlanTags::parse(rest)?;
        Ok((Self { destination, source, vlan, ..Self::default() }, ether_type, behind))
    }

    /// Writes the header in front of a packet of `ether_type` and returns the bytes behind it.
    ///
    /// # Panics
    /// Where `buffer` is shorter than [`LinkHeader::len`].
    #[inline]
    pub fn write<'a>(&self, ether_type: u16, buffer: &'a mut [u8]) -> &'a mut [u8] {
        let (addresses, mut rest) = buffer.split_at_mut(12);
        addresses[..6].copy_from_slice(&self.destination.0);
        addresses[6..].copy_from_slice(&self.source.0);
        for tag in self.vlan.as_slice() {
            let (written, behind) = rest.split_at_mut(TAG_LEN);
            written[..2].copy_from_slice(&tag.protocol.to_be_bytes());
            written[2..].copy_from_slice(&tag.control.to_be_bytes());
            rest = behind;
        }
        let (written, behind) = rest.split_at_mut(2);
        written.copy_from_slice(&ether_type.to_be_bytes());
        behind
    }
}

const fn is_tag(ether_type: u16) -> bool {
    matches!(ether_type, TPID_CUSTOMER | TPID_SERVICE)
}

fn split_u16(bytes: &[u8]) -> Result<(u16, &[u8]), DropReason> {
    let (value, behind) = bytes.split_first_chunk().ok_or(DropReason::TruncatedEthernet)?;
    Ok((u16::from_be_bytes(*value), behind))
}
