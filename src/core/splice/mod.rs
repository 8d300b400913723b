//! Two connections that were made one: a client's and a backend's, which a proxy ended both, and whose segments are from now on
//! translated instead. Pure, and the model of what a program in the kernel does.
//!
//! A proxy that has nothing more to look at takes a pair of connections out of its stack
//! ([`Stack::part_with`](crate::stack::Stack::part_with)) and has a [`Pair`] instead. [`Pair::translate`] makes of a segment that one
//! peer sends to the proxy the segment that the other peer gets from it. Each peer goes on talking to the end it knows; what is lost,
//! comes twice or out of order is their affair from now on.
//!
//! # Numbers
//!
//! At the moment of the switch the proxy has received everything up to RCV.NXT from one peer, and the other one has acknowledged
//! everything up to SND.NXT. So the next octet of the one is the next octet of the other, and the difference of the two numbers is what
//! is added to sequence numbers on that way, and taken from the acknowledgment numbers and SACK blocks on the way back. Where something
//! has come that the proxy has not acknowledged yet, its RCV.NXT counts as the number that it acknowledged last, and what has come is
//! handed on as segments of the pair: if they are lost, their sender says it again.
//!
//! ```text
//!        client                          proxy                           backend
//!     SEQ ──────▶ RCV.NXT of the client's ═══ SND.NXT of the backend's ──────▶ SEQ + shift
//!     ACK - shift ◀─────────────────────────────────────────────────────────── ACK
//! ```
//!
//! | field | what becomes of it | why so |
//! | --- | --- | --- |
//! | SEQ, ACK | shifted | what lies before the switch becomes a number before the switch: an old duplicate for its receiver, which is right, as it has all that. That draws the acknowledgment that was lost |
//! | SEQ of an empty segment | no more than the right edge that its receiver has offered | the proxy may have offered more, and acknowledgments from beyond the window are not heard: two peers that have sent so much would wait for each other for ever |
//! | SACK, D-SACK | as ACK, each edge | a block of before the switch, or across it, comes back in the numbers in which its sender had sent: shifting keeps all order, and no block is cut |
//! | TSval | shifted, so that TS.Recent becomes what the proxy's clock showed at the switch | the receiver has seen nothing newer than that, so its clock of this peer never goes back (PAWS), also where it wraps |
//! | TSecr | shifted back; an echo of before the switch becomes TS.Recent | that echo is of a clock its receiver never had; TS.Recent is what the proxy would have echoed |
//! | window | octets by the sender's scale, then units of the scale that the proxy told the receiver | rounded down, or data would come for which there is no room; but never to 0, which says something else; 65,535 at most |
//! | urgent pointer | as it is | it counts from SEQ |
//! | hop limit | one less | it is a hop |
//! | checksums | by what has changed (RFC 1624 equation 3) | what was damaged before stays damaged, and its receiver sees that |
//!
//! # What is not passed on
//!
//! Whoever cannot see the segments must not be able to do more to the pair than to a connection. A segment passes where its receiver
//! might take it or answer it: it begins no later than the right edge it was offered, or where a probe of a shut window ends, ends no further below what was acknowledged than
//! a window, and acknowledges only what was sent ([`Refusal::Sequence`], [`Refusal::Acknowledgment`]). A RST passes where it lies in
//! the window, and its receiver challenges it if it is not exact (RFC 5961 §3.2); the pair believes one that is exact, and whose
//! checksum is right.
//!
//! A SYN does not pass: it comes from a client that has rebooted, or uses its port again, and the other end may have forgotten the
//! connection as well. While the pair is open whoever translates challenges it ([`Refusal::Question`], [`Pair::challenge`], RFC 5961
//! §4.2), and a client that knows of no such connection answers by an exact RST. Behind the end it is [`Refusal::Over`], and the pair is
//! to be forgotten.
//!
//! # The end
//!
//! Nothing that a segment says makes an end of the translation at once: the last acknowledgment, or the RST, may have to be said again.
//! A pair that was closed or reset is over after a short silence, and any other one after a long one ([`Pair::over`]).

mod carrier;
mod difference;
mod end;
mod options;
mod pair;
mod sight;
mod table;
#[cfg(test)]
mod tests;
mod translate;
mod why_not;

pub(crate) use self::sight::{finish_checksum, packet_end};
pub use self::{
    carrier::{Carrier, PairId},
    end::{Over, Patience},
    pair::{End, Half, Pair, Side, Stream},
    table::Table,
    translate::Refusal,
    why_not::{Busy, WhyNot},
};
