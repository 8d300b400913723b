//! What a server was like at one moment, as plain data: whoever draws it asks nobody.

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Duration};

/// A server at one moment. What counts grows from its beginning on; two pictures make rates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Which server this is, in a few words, such as the name of its interface.
    pub server: String,
    /// How long it has been at work.
    pub uptime: Duration,
    /// Its workers, in order.
    pub workers: Vec<Worker>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// What stands against floods, all workers and programs together.
    pub handshakes: Handshakes,
    /// What was refused, by reason; one that never occurred may be left out.
    pub drops: Vec<Refusal>,
    /// Connections that are worth a look, busy ones and unhappy ones: not all of them.
    pub connections: Vec<Connection>,
    /// How many were looked at to find these.
    pub looked_at: u64,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its number, from 0.
    pub number: usize,
    /// How long it has been at work.
    pub uptime: Duration,
    /// How much of that it waited for something to do.
    pub asleep: Duration,
    /// Frames taken in, and sent.
    pub frames: Both,
    /// Octets of these frames, link headers included; `None` where they are not counted.
    pub octets: Option<Both>,
    /// Connections that reached ESTABLISHED so far.
    pub opened: u64,
    /// Connections now.
    pub connections: u64,
    /// Handshakes under way that are remembered.
    pub half_open: u64,
    /// Entries in TIME-WAIT.
    pub time_wait: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// What its connections have allocated, octets.
    pub memory: u64,
    /// How long 99 of 100 batches took at most since the picture before; `None` in the first, and where there were none.
    pub batch: Option<Duration>,
}

/// A number for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Both {
    /// From peers.
    pub received: u64,
    /// To peers.
    pub sent: u64,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is defended: `cache`, `worker`, `xdp` or `budget`.
    pub level: String,
    /// How often that has changed.
    pub changes: u64,
    /// SYNs for it, answered or not.
    pub syns: u64,
    /// Connections that were accepted there; `None` where they are not counted.
    pub accepted: Option<u64>,
}

/// Handshakes and cookies, and what attackers get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Handshakes that the workers began.
    pub begun: u64,
    /// Those that were forgotten to make room for newer ones.
    pub evicted: u64,
    /// SYNs that XDP answered with a cookie.
    pub answered_by_xdp: u64,
    /// Connections that a cookie alone has opened.
    pub cookies_accepted: u64,
    /// Acknowledgments whose cookie was refused, by workers or by XDP.
    pub cookies_refused: u64,
    /// Frames that XDP dropped.
    pub dropped_by_xdp: u64,
}

/// One reason for which frames are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its name, such as `bad_cookie`.
    pub reason: String,
    /// What that means, in a sentence.
    pub meaning: String,
    /// How often it occurred.
    pub count: u64,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Which worker has it.
    pub worker: usize,
    /// The server's end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Its state, in the words of RFC 9293 §3.3.2.
    pub state: String,
    /// The smoothed round-trip time, once one was measured.
    pub round_trip: Option<Duration>,
    /// The congestion window, octets.
    pub congestion_window: u64,
    /// Octets that were written and not acknowledged.
    pub send_queue: u64,
    /// Octets that were received and not read.
    pub receive_queue: u64,
    /// Octets that are taken for lost and not sent again yet.
    pub lost: u64,
    /// Segments sent again so far.
    pub retransmitted: u64,
    /// What it waits for before it sends more, in a word: see
    /// [`WhyNotSending`](xskip::tcp::WhyNotSending).
    pub waits_for: String,
    /// Where its octets have got to: sequence numbers (RFC 9293 §3.4), which begin anywhere and wrap. `None` where they are not told.
    pub sequence: Option<Sequence>,
}

/// How far the octets of a connection have got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// RCV.NXT: what is expected next.
    pub received: u32,
    /// SND.UNA: the first octet that is not acknowledged.
    pub acknowledged: u32,
}

impl Picture {
    /// A number of each worker, all together.
    pub fn total(&self, count: impl Fn(&Worker) -> u64) -> u64 {
        self.workers.iter().map(count).sum()
    }
}
