//! What happened lately, to be told when something went wrong: a ladder whose rungs say what became of each frame, which no
//! tap at one end could know.

use crate::link::Fate;
use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    time::Duration,
};
use xskip_core::{
    time::Instant,
    wire::{self, ChecksumPolicy, Packet, SeqNumber, TcpFlags},
};

/// Rungs that are remembered.
const RUNGS: usize = 60;

struct Rung {
    at: Instant,
    to_server: bool,
    frame: Vec<u8>,
    what: String,
}

/// The last of what happened.
#[derive(Default)]
pub struct Trace {
    rungs: VecDeque<Rung>,
    /// Whether everything is kept, and not the last of it only.
    pub whole: bool,
}

impl Trace {
    fn push(&mut self, rung: Rung) {
        if self.rungs.len() == RUNGS && !self.whole {
            self.rungs.pop_front();
        }
        self.rungs.push_back(rung);
    }

    /// A frame was sent.
    pub fn sent(&mut self, at: Instant, to_server: bool, frame: &[u8], fate: Fate) {
        let millis = |span: Duration| span.as_nanos() as f64 / 1e6;
        let what = match fate {
            Fate::Arrives(then, None) => format!("{:.3} ms", millis(then - at)),
            Fate::Arrives(then, Some(again)) => format!("{:.3} and {:.3} ms", millis(then - at), millis(again - at)),
            Fate::Lost(why) => why.to_owned(),
            Fate::TooBig(mtu) => format!("too big for {mtu}"),
        };
        self.push(Rung { at, to_server, frame: frame.to_vec(), what });
    }

    /// Something else happened at one of the ends.
    pub fn note(&mut self, at: Instant, to_server: bool, what: String) {
        self.push(Rung { at, to_server, frame: Vec::new(), what });
    }

    /// The ladder: the client on the left, the server on the right, each connection by the client's port, its numbers relative to the
    /// first that are drawn.
    pub fn draw(&self) -> String {
        let mut out =
            String::from("          time   client                                                          server\n");
        let mut bases = HashMap::new();
        for rung in &self.rungs {
            let millis = rung.at.as_nanos() as f64 / 1e6;
            let body = if rung.frame.is_empty() { None } else { Some(describe(rung, &mut bases)) };
            let line = match (body, rung.to_server) {
                (None, false) => format!("* {}", rung.what),
                (None, true) => format!("{:>66} *", rung.what),
                (Some(body), true) => format!("|--- {body:<58} ->|  {}", rung.what),
                (Some(body), false) => format!("|<-- {body:<58} --|  {}", rung.what),
            };
            let _ = writeln!(out, "{millis:>14.3}   {line}");
        }
        out
    }
}

/// Where both sides' numbers begin, by the client's port.
type Bases = HashMap<u16, [Option<SeqNumber>; 2]>;

fn describe(rung: &Rung, bases: &mut Bases) -> String {
    let Ok(parsed) = wire::parse(&rung.frame, ChecksumPolicy::Verify) else { return "damaged".to_owned() };
    let Packet::Tcp(_, segment) = parsed.packet else {
        return match parsed.packet {
            Packet::Arp(_) => "ARP".to_owned(),
            _ => "ICMP".to_owned(),
        };
    };
    let header = &segment.header;
    let mine = usize::from(!rung.to_server);
    let client = if rung.to_server { header.source_port } else { header.destination_port };
    let bases = bases.entry(client).or_default();
    let base = *bases[mine].get_or_insert(header.seq);
    let relative = |seq: SeqNumber, base: SeqNumber| seq.since(base) as i32;
    let mut text = format!("{client} {} seq {}", header.flags, relative(header.seq, base));
    if header.flags.contains(TcpFlags::ACK) {
        let base = *bases[1 - mine].get_or_insert(header.ack);
        let _ = write!(text, " ack {}", relative(header.ack, base));
        for &(left, right) in header.options.sack.as_slice() {
            let _ = write!(text, " [{} {}]", relative(left, base), relative(right, base));
        }
    }
    let _ = write!(text, " win {} len {}", header.window, segment.payload.len());
    text
}
