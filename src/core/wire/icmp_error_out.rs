//! ICMP errors that we send (RFC 792, RFC 4443 §3); [`icmp_error`](super::icmp_error) has those that arrive.

/// An ICMP error that we send, by what is wrong. Offsets count from the beginning of the IPv6 packet to the octet at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpErrorOut {
    /// It does not fit the way on.
    PacketTooBig {
        /// The largest packet that does, octets.
        mtu: u32,
    },
    /// Nobody listens on the port.
    PortUnreachable,
    /// Nobody speaks the protocol.
    ProtocolUnreachable,
    /// The first of several fragments: they will not become a packet here.
    ReassemblyRefused,
    /// A header field makes no sense.
    ErroneousHeader {
        /// Where it is.
        at: u32,
    },
    /// A next header that nobody knows.
    UnknownHeader {
        /// Where it is named.
        at: u32,
    },
    /// An option that nobody knows, and that must not be skipped.
    UnknownOption {
        /// Where it is.
        at: u32,
        /// Whether the sender wants to hear of it even where it wrote to a group (RFC 8200 §4.2).
        even_to_group: bool,
    },
}

impl IcmpErrorOut {
    /// Type, code, and the four octets behind the checksum.
    pub(super) const fn fields(self, is_ipv6: bool) -> (u8, u8, u32) {
        match (self, is_ipv6) {
            // RFC 1191 §4: the upper half of the field is unused. RFC 4443 §3.2.
            (Self::PacketTooBig { mtu }, false) => (3, 4, if mtu > 0xffff { 0xffff } else { mtu }),
            (Self::PacketTooBig { mtu }, true) => (2, 0, mtu),
            (Self::ProtocolUnreachable, _) => (3, 2, 0),
            (Self::PortUnreachable, false) => (3, 3, 0),
            (Self::ReassemblyRefused, false) => (11, 1, 0),
            (Self::PortUnreachable, true) => (1, 4, 0),
            (Self::ReassemblyRefused, true) => (3, 1, 0),
            (Self::ErroneousHeader { at }, _) => (4, 0, at),
            (Self::UnknownHeader { at }, _) => (4, 1, at),
            (Self::UnknownOption { at, .. }, _) => (4, 2, at),
        }
    }
}
