//! What happened, in numbers.

use std::time::Duration;

/// Declares a set of counters with their names and what they count.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $name {
            /// Each counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }

            /// Adds the counts of another worker.
            pub fn merge(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

counters! {
    /// One stack's counters since its start.
    StackStats {
        /// Frames handed to the stack.
        frames_received,
        /// Frames the stack has built.
        frames_transmitted,
        /// Octets of these frames, from their link headers on.
        octets_received,
        /// Octets of the frames that the stack has built, likewise.
        octets_transmitted,
        /// TCP segments that were well-formed and addressed to us.
        segments_received,
        /// Of these, segments with data behind a gap.
        segments_out_of_order,
        /// Data segments and FINs sent for the first time.
        segments_transmitted,
        /// Segments sent again.
        segments_retransmitted,
        /// Acknowledgments without data sent.
        acknowledgments_transmitted,
        /// RSTs sent.
        resets_transmitted,
        /// SYNs that began a handshake.
        handshakes_begun,
        /// Handshakes forgotten to make room for newer ones: their cookies remain.
        handshakes_evicted,
        /// Handshakes that the peer broke off with an RST.
        handshakes_reset,
        /// Handshakes that ended because the client's host does not speak TCP, or not on that port, as ICMP says.
        handshakes_refused,
        /// Connections opened by a cookie alone: their handshake was not remembered.
        cookies_accepted,
        /// SYN-ACKs sent again.
        syn_acks_retransmitted,
        /// Connections that reached ESTABLISHED.
        connections_opened,
        /// Connections that ended with a FIN each way.
        connections_finished,
        /// Connections that ended with an RST from the peer.
        connections_reset,
        /// Connections that ended with an RST from us.
        connections_aborted,
        /// Connections reset to make room, because their peers kept their windows shut.
        connections_evicted,
        /// Connections reset because their peers had said nothing for too long, or others needed the room.
        connections_silent,
        /// Connections reset because their peers made little use of the memory they took, when it had been used up.
        connections_slow,
        /// The most memory that connections took at any time, bytes: that of each worker, together.
        memory_peak,
        /// Connections given up because nothing came back.
        connections_timed_out,
        /// Connections that we began to open.
        connections_begun,
        /// Connections that we began to open and the peer refused.
        connections_refused,
        /// Connections that we began to open and no neighbour took.
        connections_unreachable,
        /// Connections handed on to whoever translates their segments, two of each pair.
        connections_parted,
        /// Segments of such pairs that came to the stack all the same, and were translated here.
        segments_translated,
        /// Calls of an application that panicked and were contained: the connection they were for was reset.
        application_panics,
        /// ARP requests and neighbour solicitations sent.
        neighbour_questions,
        /// ICMP errors sent.
        icmp_errors_transmitted,
        /// UDP datagrams taken in for a socket.
        datagrams_received,
        /// UDP datagrams sent.
        datagrams_transmitted,
        /// ICMP errors that were about segments of ours in flight.
        icmp_errors_accepted,
        /// Connections that send smaller segments because the path takes no larger ones.
        path_mtus_lowered,
        /// Changes of the interface's MTU.
        mtu_changes,
        /// ARP requests and neighbour solicitations answered.
        neighbour_replies,
        /// Echo requests answered.
        echo_replies,
    }
}

/// Numbers of [`StackStats`] that count no events.
const OTHERS: [&str; 3] = ["memory_peak", "octets_received", "octets_transmitted"];

impl StackStats {
    /// Each counter of events with its name: all but memory and octets.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.iter().filter(|(name, _)| !OTHERS.contains(name))
    }
}

/// How often something took how long: counts in fixed steps, each twice as long as the one before, from 4 µs to 16 s, and one of what took
/// longer. It takes as much memory as it ever will from the beginning on, and belongs to whoever counts: to count is to add to two numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; Self::BUCKETS],
    nanos: u64,
}

impl Histogram {
    /// Steps, the last of which has no end.
    pub const BUCKETS: usize = 24;
    /// The first step ends at 2 to the power of this many microseconds.
    const FIRST: u32 = 2;

    /// Counts one that took so long.
    pub fn count_one(&mut self, took: Duration) {
        // Below 584 years, which nothing here takes: in 128 bits it costs several times as much.
        let nanos = took.as_secs().saturating_mul(1_000_000_000).saturating_add(took.subsec_nanos().into());
        // What ends at a bound belongs below it, and a microsecond that has begun counts.
        let micros = nanos.div_ceil(1_000);
        let bits = u64::BITS - micros.saturating_sub(1).leading_zeros();
        let step = bits.saturating_sub(Self::FIRST) as usize;
        self.buckets[step.min(Self::BUCKETS - 1)] += 1;
        self.nanos = self.nanos.saturating_add(nanos);
    }

    /// Each step: where it ends, which belongs to it, and how many there are in it alone; the last has no end.
    pub fn iter(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let end =
            |step: usize| (step + 1 < Self::BUCKETS).then(|| Duration::from_micros(1 << (step as u32 + Self::FIRST)));
        self.buckets.into_iter().enumerate().map(move |(step, count)| (end(step), count))
    }

    /// What was counted since an earlier state of this histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut later = *self;
        later.buckets.iter_mut().zip(earlier.buckets).for_each(|(now, before)| *now = now.saturating_sub(before));
        later.nanos = self.nanos.saturating_sub(earlier.nanos);
        later
    }

    /// Where the step ends in which so many of a thousand lie, such as 500 for the median: none took longer. `None` where nothing was
    /// counted, or where it took longer than all steps that end.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let wanted = (u128::from(self.count()) * u128::from(per_mille)).div_ceil(1_000).max(1);
        let mut so_far = 0_u128;
        let reached = self.iter().find(|&(_, count)| {
            so_far += u128::from(count);
            so_far >= wanted
        });
        reached.and_then(|(end, _)| end)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }
}

/// How long what a stack does with connections takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// From a SYN of ours to the SYN-ACK, or from our SYN-ACK to what ends the handshake, where either was sent but once (RFC 6298 §3). Of
    /// handshakes that a cookie has ended nothing is known.
    pub handshakes: Histogram,
    /// The smoothed round-trip time (RFC 6298 §2) that each connection ended with.
    pub round_trips: Histogram,
    /// From what a peer said last to the first octet of data to it, once for each connection: how long an application takes for its first
    /// answer, or, where it speaks first, for its greeting. Both are told by the time of the batch they belong to, so an answer within
    /// the batch has taken none.
    pub first_octets: Histogram,
}

#[cfg(test)]
mod tests;
