//! The work of the request/response rows: 64 octets there, 64 octets back, and again.

/// Octets of a request, and of a response.
pub const REQUEST: usize = 64;

/// What the clients know. A request carries the number of its lap in its first octets; the server sends it back, and the
/// client puts the next one in its place. So nobody needs to remember it, and it shows whether every connection had its turn.
#[derive(Debug, Default)]
pub struct Laps {
    /// Responses so far.
    pub responses: u64,
    /// Whether clients go on after a response.
    pub stopping: bool,
    /// Connections that have stopped,
    pub stopped: usize,
    /// and in which lap: the first and the last.
    pub last: Option<(u64, u64)>,
}

impl Laps {
    /// The request that follows a response; none where this was the last one.
    pub fn answer(&mut self, message: &mut [u8; REQUEST]) -> bool {
        let lap = u64::from_le_bytes(std::array::from_fn(|index| message[index]));
        self.responses += 1;
        if self.stopping {
            let (first, last) = self.last.unwrap_or((lap, lap));
            self.last = Some((first.min(lap), last.max(lap)));
            self.stopped += 1;
            return false;
        }
        message[..8].copy_from_slice(&(lap + 1).to_le_bytes());
        true
    }

    /// Proves that all of `connections` have had their turns equally often.
    ///
    /// # Panics
    /// Where some have fallen behind others by more than a hundredth: a little, since a machine that stalls lets timers run out,
    /// and who has to acknowledge without an answer queues up once more.
    pub fn assert_fair(&self, connections: usize) {
        let (first, last) = self.last.expect("somebody has answered");
        assert_eq!(self.stopped, connections, "every connection has come to its end");
        assert!(last - first <= 4 + last / 100, "all connections take part: laps {first} to {last}");
    }
}
