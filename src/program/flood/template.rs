//! The frames of each kind, with noughts where random numbers go.

use super::FloodKind;
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
/// Bytes of data that data segments have, in turn.
const DATA_LENGTHS: [usize; 4] = [1, 100, 536, 1_400];
/// The most TCP data that fits an Ethernet frame of the usual MTU, by IP version.
const MSS_V4: [u8; 2] = 1_460u16.to_be_bytes();
const MSS_V6: [u8; 2] = 1_440u16.to_be_bytes();

/// Where frames go, and from whose Ethernet address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub source_mac: [u8; 6],
    pub target_mac: [u8; 6],
    pub target: SocketAddr,
}

/// What tells one client's SYNs from another's.
struct Client {
    /// Whole words of them; an MSS first.
    options: &'static [u8],
    /// Where the TSval is among them.
    timestamp_at: Option<usize>,
    window: u16,
    hop_limit: u8,
}

const LINUX: Client = Client {
    // MSS, SACK permitted, timestamps, a NOP, window scale 7.
    options: &[2, 4, 0, 0, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7],
    timestamp_at: Some(8),
    window: 64_240,
    hop_limit: 64,
};
const WINDOWS: Client = Client {
    // MSS, a NOP, window scale 8, two NOPs, SACK permitted.
    options: &[2, 4, 0, 0, 1, 3, 3, 8, 1, 1, 4, 2],
    timestamp_at: None,
    window: 64_240,
    hop_limit: 128,
};
const MACOS: Client = Client {
    // MSS, a NOP, window scale 6, two NOPs, timestamps, SACK permitted, the end.
    options: &[2, 4, 0, 0, 1, 3, 3, 6, 1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 0, 0],
    timestamp_at: Some(12),
    window: 65_535,
    hop_limit: 64,
};
const BARE: Client = Client { options: &[2, 4, 0, 0], timestamp_at: None, window: 8_192, hop_limit: 64 };

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
    /// From the IP header on.
    pub fn ip(&mut self) -> &mut [u8] {
        &mut self.frame[ETHERNET_LEN..]
    }

    /// From the TCP header on.
    pub fn tcp(&mut self) -> &mut [u8] {
        &mut self.frame[ETHERNET_LEN + self.ip_len..]
    }

    /// The same with something changed.
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
    /// The frames of a kind.
    pub fn templates(&self, kind: FloodKind) -> Vec<FloodTemplate> {
        let single = |flags| vec![self.segment(flags, &[], 0).finish()];
        match kind {
            FloodKind::Syn => self.syns(),
            FloodKind::Ack => single(TcpFlags::ACK),
            FloodKind::Rst => {
                [TcpFlags::RST, TcpFlags::RST | TcpFlags::ACK].map(|flags| self.segment(flags, &[], 0).finish()).into()
            }
            FloodKind::Fin => single(TcpFlags::FIN | TcpFlags::ACK),
            FloodKind::Data => {
                let flags = TcpFlags::PSH | TcpFlags::ACK;
                DATA_LENGTHS.map(|length| self.segment(flags, &[], length).finish()).into()
            }
            FloodKind::SynAck => vec![self.syn(TcpFlags::SYN | TcpFlags::ACK, &LINUX).finish()],
            FloodKind::Mixed => {
                let kinds = [FloodKind::Syn, FloodKind::Ack, FloodKind::Rst, FloodKind::Fin, FloodKind::Data];
                let kinds = kinds.into_iter().chain([FloodKind::SynAck]);
                kinds.flat_map(|kind| self.templates(kind)).collect()
            }
            FloodKind::Malformed => super::malformed::templates(self),
        }
    }

    /// SYNs as Linux, Windows and macOS send them, and as something small does.
    fn syns(&self) -> Vec<FloodTemplate> {
        [LINUX, WINDOWS, MACOS, BARE].map(|client| self.syn(TcpFlags::SYN, &client).finish()).into()
    }

    fn syn(&self, flags: TcpFlags, client: &Client) -> Draft {
        let mut options = client.options.to_vec();
        options[2..4].copy_from_slice(if self.target.is_ipv4() { &MSS_V4 } else { &MSS_V6 });
        let mut draft = self.segment(flags, &options, 0);
        draft.tcp()[14..16].copy_from_slice(&client.window.to_be_bytes());
        draft.ip()[if self.target.is_ipv4() { 8 } else { 7 }] = client.hop_limit;
        draft.timestamp_offset = client.timestamp_at.map_or(0, |at| ETHERNET_LEN + draft.ip_len + TCP_HEADER_LEN + at);
        draft
    }

    /// A segment with these flags, option bytes (a multiple of four of them) and `data` bytes of data.
    pub(super) fn segment(&self, flags: TcpFlags, options: &[u8], data: usize) -> Draft {
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
        tcp[14..16].copy_from_slice(&BARE.window.to_be_bytes());
        tcp[TCP_HEADER_LEN..header_len].copy_from_slice(options);
        tcp[header_len..].iter_mut().zip((b' '..=b'~').cycle()).for_each(|(byte, letter)| *byte = letter);
        let random_ack = flags.contains(TcpFlags::ACK);
        Draft { frame, ip_len: ip.len(), target: self.target.ip(), timestamp_offset: 0, random_ack }
    }
}
