//! Why a frame was refused. A refusal is never a return value that someone must handle: it is counted, by reason.

/// Declares an enum whose members carry the names that they have in counters and reports.
macro_rules! named {
    ($(#[$of:meta])* $type:ident { $($(#[doc = $doc:literal])* $variant:ident => $name:literal,)* }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        #[non_exhaustive]
        pub enum $type {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $type {
            /// All of them, in the order they are reported.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in counters: lower case, words joined by underscores.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in a sentence or two.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),*).trim_ascii_start(),)*
                }
            }
        }
    };
}

pub(crate) use named;

named! {
    /// Why a frame or segment went no further.
    DropReason {
        /// Shorter than an Ethernet header with the VLAN tags it announces.
        TruncatedEthernet => "truncated_ethernet",
        /// More than two VLAN tags.
        TooManyVlanTags => "too_many_vlan_tags",
        /// Tagged for another VLAN than is served, or not tagged for the one that is.
        OtherVlan => "other_vlan",
        /// Handed in under the name of an interface that the stack does not have.
        NoInterface => "no_interface",
        /// Sent to another station's MAC address.
        OtherStation => "other_station",
        /// The source MAC address is a group address (IEEE 802.3 §3.2.6 allows it as a destination only).
        GroupSourceMac => "group_source_mac",
        /// An EtherType other than ARP, IPv4 and IPv6.
        UnknownEtherType => "unknown_ether_type",
        /// An ARP packet that is short, or not about Ethernet and IPv4 (RFC 826).
        MalformedArp => "malformed_arp",
        /// An ARP packet that asks for nothing of ours.
        ArpNotForUs => "arp_not_for_us",
        /// A neighbour's answer to a question that we have not asked.
        UnaskedNeighbour => "unasked_neighbour",
        /// Shorter than the IP header.
        TruncatedIp => "truncated_ip",
        /// The version field contradicts the EtherType.
        WrongIpVersion => "wrong_ip_version",
        /// An IPv4 header length below 20 bytes or beyond the packet.
        BadIpHeaderLength => "bad_ip_header_length",
        /// A total or payload length that contradicts the header or exceeds the frame.
        BadIpLength => "bad_ip_length",
        /// The IPv4 header checksum does not add up.
        BadIpChecksum => "bad_ip_checksum",
        /// A fragment: reassembly is not offered (RFC 8900 explains why that is common).
        Fragment => "fragment",
        /// An IPv6 extension header chain that is truncated, too long, or cannot be skipped.
        BadExtensionHeaders => "bad_extension_headers",
        /// The source address is multicast, broadcast, loopback or unspecified, and so no host's (RFC 1122 §3.2.1.3).
        InvalidSource => "invalid_source",
        /// The source address is our own: a LAND packet, or an address used twice on the link.
        OwnSource => "own_source",
        /// Not addressed to any address of ours.
        OtherDestination => "other_destination",
        /// TCP (RFC 9293 MUST-57) or UDP to a multicast or broadcast address.
        GroupDestination => "group_destination",
        /// An IPv6 option that we do not know, and that its sender does not want to be skipped (RFC 8200 §4.2).
        UnknownIpOption => "unknown_ip_option",
        /// Neither TCP, UDP nor ICMP.
        UnknownProtocol => "unknown_protocol",
        /// An ICMP message shorter than its header.
        TruncatedIcmp => "truncated_icmp",
        /// The ICMP checksum does not add up.
        BadIcmpChecksum => "bad_icmp_checksum",
        /// A neighbour discovery message that RFC 4861 §7.1 tells us to discard.
        MalformedNeighbour => "malformed_neighbour",
        /// An echo request whose answer would exceed the MTU.
        BeyondMtu => "beyond_mtu",
        /// An ICMP message we neither answer nor act on.
        IgnoredIcmp => "ignored_icmp",
        /// A source quench, which RFC 6633 has abolished (RFC 9293 MUST-55).
        SourceQuench => "source_quench",
        /// An ICMP error whose quoted packet is cut off too early, or makes no sense.
        MalformedQuote => "malformed_quote",
        /// An ICMP error about no connection of ours, or about a sequence number that is not in flight (RFC 5927 §4.1).
        UnmatchedIcmp => "unmatched_icmp",
        /// An ICMP error about a packet's size that cannot be right, or changes nothing (RFC 8201 §4, RFC 5927 §7.2).
        ImplausibleMtu => "implausible_mtu",
        /// Shorter than the UDP header.
        TruncatedUdp => "truncated_udp",
        /// A UDP length that contradicts the header or exceeds the packet.
        BadUdpLength => "bad_udp_length",
        /// The UDP checksum does not add up, or is missing where IPv6 demands one.
        BadUdpChecksum => "bad_udp_checksum",
        /// A datagram for a port that nobody is bound to: answered with an ICMP error.
        UnservedPort => "unserved_port",
        /// More datagrams for one socket than its queue holds.
        DatagramQueueFull => "datagram_queue_full",
        /// A datagram of ours whose next hop did not answer for its address.
        SilentNeighbour => "silent_neighbour",
        /// Shorter than the TCP header it announces.
        TruncatedTcp => "truncated_tcp",
        /// A TCP data offset below five words.
        BadDataOffset => "bad_data_offset",
        /// A TCP option list that breaks the rules of RFC 9293 §3.1.
        BadTcpOptions => "bad_tcp_options",
        /// Source or destination port zero.
        PortZero => "port_zero",
        /// The TCP checksum does not add up.
        BadTcpChecksum => "bad_tcp_checksum",
        /// The TCP checksum holds the pseudo-header sum only: the sender left the rest to hardware that does not exist.
        PartialTcpChecksum => "partial_tcp_checksum",
        /// SYN together with FIN or RST, which no state expects.
        ContradictoryFlags => "contradictory_flags",
        /// No connection and no listener: answered with RST unless it was a RST itself.
        NoListener => "no_listener",
        /// An acknowledgment for a listener while every handshake is remembered: it is none's.
        StrayAck => "stray_ack",
        /// An acknowledgment for a listener that begins no connection: its cookie is not ours, or too old.
        BadCookie => "bad_cookie",
        /// An acknowledgment for a listener that begins no connection, though its cookie was made with our secret: by a clock, or in an
        /// epoch, that is not ours.
        MisdatedCookie => "misdated_cookie",
        /// A cookie that has opened a connection before, or whose handshake was reset.
        UsedCookie => "used_cookie",
        /// An RST for a connection that does not exist.
        StrayReset => "stray_reset",
        /// A segment outside the receive window (RFC 9293 §3.10.7.4, first check).
        OutsideWindow => "outside_window",
        /// A segment older than the last one, by its sender's clock (PAWS, RFC 7323 §5.3).
        OldTimestamp => "old_timestamp",
        /// An RST inside the window but not at RCV.NXT: answered with a challenge ACK (RFC 5961 §3.2).
        InexactReset => "inexact_reset",
        /// A SYN on a synchronized connection: answered with a challenge ACK (RFC 5961 §4.2).
        SynInWindow => "syn_in_window",
        /// Neither SYN nor RST, while we wait for the answer to our SYN.
        NoSyn => "no_syn",
        /// Neither SYN, RST nor ACK.
        NoAck => "no_ack",
        /// An ACK of data not yet sent, or of data long gone (RFC 5961 §5.2).
        UnacceptableAck => "unacceptable_ack",
        /// Data for a connection whose receiving side is shut.
        DataAfterFin => "data_after_fin",
        /// Out-of-order data in more pieces than are kept.
        TooManyHoles => "too_many_holes",
        /// Data for which there was room in the window, but not in memory: all connections together have used up theirs.
        MemoryPressure => "memory_pressure",
        /// Data the application will never read: it has closed (RFC 9293 SHLD-3).
        DataAfterClose => "data_after_close",
        /// A new connection beyond the configured limit.
        ConnectionLimit => "connection_limit",
        /// The end of a handshake while more connections wait for their application than are configured: it will come again.
        BacklogFull => "backlog_full",
        /// Of a pair of connections that was handed on to whoever translates its segments, and refused by it.
        Parted => "parted",
        /// A half-open connection whose SYN-ACK was never acknowledged.
        HandshakeTimeout => "handshake_timeout",
        /// A TIME-WAIT entry made room for a newer one.
        TimeWaitEvicted => "time_wait_evicted",
        /// More replies pending than the queue for them holds.
        ReplyQueueFull => "reply_queue_full",
        /// Above the rate at which ICMP and RST replies are sent.
        RateLimited => "rate_limited",
        /// The ring to the worker that owns the flow is full.
        HandOffFull => "hand_off_full",
    }
}

/// How often each reason occurred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// Counts one drop.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// How often `reason` occurred.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// All drops together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds the counts of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.get(reason))).filter(|&(_, count)| count > 0)
    }
}
