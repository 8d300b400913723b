//! The frames of each kind, with noughts where random numbers go.

use super::{
    FloodKind,
    draft::{Draft, WINDOW, Way},
    malformed,
};
use crate::{bpf::FloodTemplate, wire::tcp::TcpFlags};

/// Bytes of data that data segments have, in turn.
const DATA_LENGTHS: [usize; 4] = [1, 100, 536, 1_400];
/// The most TCP data that fits an Ethernet frame of the usual MTU, by IP version.
const MSS_V4: [u8; 2] = 1_460u16.to_be_bytes();
const MSS_V6: [u8; 2] = 1_440u16.to_be_bytes();

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
const BARE: Client = Client { options: &[2, 4, 0, 0], timestamp_at: None, window: WINDOW, hop_limit: 64 };

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
            FloodKind::Malformed => malformed::templates(self),
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
        if let Some(offset) = client.timestamp_at {
            draft.stamp_at(offset);
        }
        draft
    }
}
