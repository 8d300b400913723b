//! One frame under construction: a segment that is right in all but what is changed on purpose.

use crate::{
    bpf::FloodTemplate,
    wire::{
        checksum::Checksum,
        ethernet::{LinkHeader, MacAddress},
        ip::{IpHeader, Protocol},
        tcp::TcpFlags,
    },
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const ETHERNET_LEN: usize = 14;
const TCP_HEADER_LEN: usize = 20;
/// What a segment offers that nobody in particular sends.
pub(super) const WINDOW: u16 = 8_192;

/// Where frames go, and from whose Ethernet address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub source_mac: [u8; 6],
    pub target_mac: [u8; 6],
    pub target: SocketAddr,
}

/// A frame under construction. The checksums come last.
pub(super) struct Draft {
    frame: Vec<u8>,
    ip_len: usize,
    target: IpAddr,
    /// Of the TSval in the frame; 0 for none.
    timestamp_offset: usize,
    random_ack: bool,
}

impl Draft {
    /// Has the generator stamp a TSval that many bytes behind the beginning of the TCP options.
    pub fn stamp_at(&mut self, offset: usize) {
        self.timestamp_offset = ETHERNET_LEN + self.ip_len + TCP_HEADER_LEN + offset;
    }

    /// From the IP header on.
    pub fn ip(&mut self) -> &mut [u8] {
        &mut self.frame[ETHERNET_LEN..]
    }

    /// From the TCP header on.
    pub fn tcp(&mut self) -> &mut [u8] {
        &mut self.frame[ETHERNET_LEN + self.ip_len..]
    }

    /// This frame with something changed.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Cuts it off, that many bytes behind the beginning of the IP header.
    pub fn cut(&mut self, length: usize) {
        self.frame.truncate(ETHERNET_LEN + length);
    }

    /// With right checksums, whatever else may be wrong.
    pub fn finish(mut self) -> FloodTemplate {
        let is_ipv6 = self.target.is_ipv6();
        if !is_ipv6 {
            self.ip()[10..12].fill(0);
        }
        let ip_sum = if is_ipv6 { 0 } else { sum(Checksum::of(&self.frame[ETHERNET_LEN..][..self.ip_len])) };
        let tcp_offset = ETHERNET_LEN + self.ip_len;
        let tcp = self.frame.get(tcp_offset..).filter(|tcp| tcp.len() >= TCP_HEADER_LEN);
        let unspecified: IpAddr = if is_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let tcp_sum = tcp.map(|tcp| {
            sum(Checksum::pseudo_header(unspecified, self.target, Protocol::Tcp.number(), tcp.len()).with(tcp))
        });
        FloodTemplate {
            is_ipv6,
            random_ack: self.random_ack,
            tcp_offset: if tcp_sum.is_some() { tcp_offset as u32 } else { 0 },
            timestamp_offset: self.timestamp_offset as u32,
            ip_sum,
            tcp_sum: tcp_sum.unwrap_or_default(),
            frame: self.frame,
        }
    }
}

/// As the 16-bit word of this machine that it is kept in.
fn sum(checksum: Checksum) -> u32 {
    u16::from_ne_bytes(checksum.folded()).into()
}

impl Way {
    /// A segment with these flags, option bytes (a multiple of four of them) and `data` bytes of data.
    pub fn segment(&self, flags: TcpFlags, options: &[u8], data: usize) -> Draft {
        let header_len = TCP_HEADER_LEN + options.len();
        let unspecified: IpAddr = match self.target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let ip = IpHeader::new(unspecified, self.target.ip(), Protocol::Tcp);
        let link = LinkHeader {
            destination: MacAddress(self.target_mac),
            source: MacAddress(self.source_mac),
            ..LinkHeader::default()
        };
        let mut frame = vec![0; ETHERNET_LEN + ip.len() + header_len + data];
        let rest = link.write(ip.ether_type(), &mut frame);
        let tcp = ip.write(header_len + data, rest);
        tcp[2..4].copy_from_slice(&self.target.port().to_be_bytes());
        tcp[12] = (header_len as u8 / 4) << 4;
        tcp[13] = flags.bits();
        tcp[14..16].copy_from_slice(&WINDOW.to_be_bytes());
        tcp[TCP_HEADER_LEN..header_len].copy_from_slice(options);
        tcp[header_len..].iter_mut().zip((b' '..=b'~').cycle()).for_each(|(byte, letter)| *byte = letter);
        let random_ack = flags.contains(TcpFlags::ACK);
        Draft { frame, ip_len: ip.len(), target: self.target.ip(), timestamp_offset: 0, random_ack }
    }
}
