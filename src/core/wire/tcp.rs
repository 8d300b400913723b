//! The TCP header (RFC 9293 §3.1).

use super::{
    checksum::Checksum,
    ip::{IpHeader, Protocol},
    put_words,
    seq::SeqNumber,
    tcp_options::TcpOptions,
};
use crate::drops::DropReason;
use std::fmt;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = size_of::<Layout>();

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    source_port: U16,
    destination_port: U16,
    seq: U32,
    ack: U32,
    data_offset: u8,
    flags: u8,
    window: U16,
    checksum: [u8; 2],
    urgent: U16,
}

bitflags::bitflags! {
    /// The control bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct TcpFlags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronize sequence numbers.
        const SYN = 0x02;
        /// Reset the connection.
        const RST = 0x04;
        /// Push what is buffered to the application.
        const PSH = 0x08;
        /// The acknowledgment number counts.
        const ACK = 0x10;
        /// The urgent pointer counts.
        const URG = 0x20;
        /// ECN echo (RFC 3168).
        const ECE = 0x40;
        /// Congestion window reduced (RFC 3168).
        const CWR = 0x80;
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, _)) in self.iter_names().enumerate() {
            write!(f, "{}{name}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// A TCP header as a value. What can be constructed can be written; the checksum is computed, never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpHeader {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Sequence number of the first octet, or of the SYN.
    pub seq: SeqNumber,
    /// The next sequence number its sender expects; counts only with [`TcpFlags::ACK`].
    pub ack: SeqNumber,
    /// The control bits.
    pub flags: TcpFlags,
    /// The receive window, not yet shifted by any window scale.
    pub window: u16,
    /// Urgent pointer, an offset from `seq`; counts only with [`TcpFlags::URG`].
    pub urgent: u16,
    /// The options.
    pub options: TcpOptions,
}

#[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
impl TcpHeader {
    /// Bytes of the header with its options.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// Writes the header in front of the payload that already stands in `segment`, and the checksum over both.
    ///
    /// # Panics
    /// Where `segment` is shorter than [`TcpHeader::len`].
    pub fn write(&self, ip: &IpHeader, segment: &mut [u8]) {
        let (header, payload) = segment.split_at_mut(self.len());
        self.write_before(ip, payload.len(), Checksum::of(payload), header);
    }

    /// Writes the header of a segment whose payload is so long and has this sum.
    ///
    /// # Panics
    /// Where `header` is not exactly [`TcpHeader::len`] bytes long.
    #[inline(always)]
    pub(super) fn write_before(&self, ip: &IpHeader, payload_len: usize, payload: Checksum, header: &mut [u8]) {
        let header_len = header.len();
        let (fixed, list) = header.split_at_mut(HEADER_LEN);
        let mut words = [
            u32::from(self.source_port) << 16 | u32::from(self.destination_port),
            self.seq.get(),
            self.ack.get(),
            u32::from_be_bytes([(header_len as u8 / 4) << 4, self.flags.bits(), 0, 0]) | u32::from(self.window),
            u32::from(self.urgent),
        ];
        let [high, low] =
            Checksum::pseudo_header(ip.source, ip.destination, Protocol::Tcp.number(), header_len + payload_len)
                .plus(Checksum::of_words(&words))
                .plus(self.options.write_summed(list))
                .plus(payload)
                .field();
        words[4] |= u32::from_be_bytes([high, low, 0, 0]);
        put_words(words, fixed);
    }
}

/// How much a received TCP checksum is to be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumPolicy {
    /// It must add up (MUST-3).
    #[default]
    Verify,
    /// It may also hold the pseudo-header sum alone, which is what the kernel leaves where it knows better. For a veth: a kernel
    /// peer leaves the rest to hardware that does not exist, and no wire lies between that could damage the segment. And for XDP
    /// in generic mode: what GRO has merged looks so, each part of which it has verified, and what comes from this machine.
    ///
    /// Where there is a wire after all, in generic mode, a damaged segment that was not merged passes if the sum it was sent with
    /// happens to be that one: one in 65,536, which is how many pass a checksum that adds up.
    AcceptPartial,
}

/// A received segment: its header as a value, its payload where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The header.
    pub header: TcpHeader,
    /// The data.
    pub payload: &'a [u8],
    /// The traffic class of the packet that brought it: routers leave their marks there (RFC 3168).
    pub traffic_class: u8,
}

impl<'a> Segment<'a> {
    /// Reads and verifies a segment. Options other than timestamps are refused where only what is `USUAL` is wanted.
    ///
    /// # Errors
    /// The [`DropReason`] that applies.
    #[inline(always)]
    pub(super) fn parse<const USUAL: bool>(
        ip: &IpHeader,
        bytes: &'a [u8],
        policy: ChecksumPolicy,
    ) -> Result<Self, DropReason> {
        let (layout, _) = Layout::ref_from_prefix(bytes).map_err(|_| DropReason::TruncatedTcp)?;
        let header_len = usize::from(layout.data_offset >> 4) * 4;
        if header_len < HEADER_LEN {
            return Err(DropReason::BadDataOffset);
        }
        let (header, payload) = bytes.split_at_checked(header_len).ok_or(DropReason::TruncatedTcp)?;
        let list = &header[HEADER_LEN..];
        let usual = TcpOptions::parse_usual(list);
        if USUAL && usual.is_none() {
            return Err(DropReason::BadTcpOptions);
        }
        verify_checksum(ip, bytes, layout.checksum, policy)?;
        if layout.source_port == U16::ZERO || layout.destination_port == U16::ZERO {
            return Err(DropReason::PortZero);
        }
        let header = TcpHeader {
            source_port: layout.source_port.get(),
            destination_port: layout.destination_port.get(),
            seq: SeqNumber::new(layout.seq.get()),
            ack: SeqNumber::new(layout.ack.get()),
            flags: TcpFlags::from_bits_retain(layout.flags),
            window: layout.window.get(),
            urgent: layout.urgent.get(),
            options: match usual {
                Some(timestamps) => TcpOptions { timestamps, ..TcpOptions::default() },
                None => TcpOptions::parse(list)?,
            },
        };
        Ok(Self { header, payload, traffic_class: ip.traffic_class })
    }

    /// Whether all the bits of `flags` are set.
    pub fn has(&self, flags: TcpFlags) -> bool {
        self.header.flags.contains(flags)
    }

    /// Octets of sequence space it takes: SEG.LEN of RFC 9293, SYN and FIN included.
    pub fn len(&self) -> u32 {
        let controls = u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN));
        self.payload.len() as u32 + controls
    }

    /// Whether it takes no sequence space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[inline(always)]
fn verify_checksum(ip: &IpHeader, bytes: &[u8], stored: [u8; 2], policy: ChecksumPolicy) -> Result<(), DropReason> {
    let pseudo_header = Checksum::pseudo_header(ip.source, ip.destination, Protocol::Tcp.number(), bytes.len());
    if pseudo_header.with(bytes).is_valid() {
        Ok(())
    } else if stored != pseudo_header.folded() {
        Err(DropReason::BadTcpChecksum)
    } else if policy == ChecksumPolicy::AcceptPartial {
        Ok(())
    } else {
        Err(DropReason::PartialTcpChecksum)
    }
}
