//! What the XDP program decided, counted: `enum verdict` of `bpf/maps.h`.

use super::{Outcomes, XdpError, refusal, steer::types::verdict};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

/// Declares [`Verdicts`]: each counter with the verdict that it counts, and those with the outcomes that it sums up.
macro_rules! verdicts {
    ($($(#[doc = $doc:literal])* $field:ident = $verdict:ident,)*;
     $($(#[doc = $of_several:literal])* $sum:ident = $outcomes:expr,)*) => {
        /// What the program decided, in frames, over all CPUs.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Verdicts {
            $($(#[doc = $doc])* pub $field: u64,)*
            $($(#[doc = $of_several])* pub $sum: u64,)*
        }

        impl Verdicts {
            const COUNT: usize = [$(stringify!($field),)*].len();

            pub(super) fn read(counters: &MapHandle) -> Result<Self, XdpError> {
                let outcomes = Outcomes::read(counters)?;
                Ok(Self {
                    $($field: sum_of_cpus(counters, verdict::$verdict.0)?,)*
                    $($sum: outcomes.sum($outcomes),)*
                })
            }

            /// Adds what another program decided.
            pub fn merge(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
                $(self.$sum += other.$sum;)*
            }

            /// Each verdict by which frames are dropped, with its name, what it means in a sentence or two, and its count.
            pub fn drops(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [
                    $((stringify!($field), concat!($($doc),*), self.$field),)*
                    $((stringify!($sum), concat!($($of_several),*), self.$sum),)*
                ]
                .into_iter()
                .filter(|(name, ..)| name.starts_with("dropped_"))
                .map(|(name, meaning, count)| (name, meaning.trim_ascii_start(), count))
            }

            /// Each verdict with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)* $((stringify!($sum), self.$sum),)*].into_iter()
            }
        }
    };
}

verdicts! {
    /// Left to the kernel: not addressed to us.
    passed_foreign = PASSED_FOREIGN,
    /// Left to the kernel: too short to tell.
    passed_malformed = PASSED_MALFORMED,
    /// Left to the kernel: of another VLAN than is served.
    passed_vlan = PASSED_VLAN,
    /// Ours: IP to an address of the stack's own.
    redirected_own = REDIRECTED_OWN,
    /// Ours: TCP or UDP to a port that is served at an address the kernel keeps.
    redirected_shared = REDIRECTED_SHARED,
    /// Ours: ARP about an address of the stack's own.
    redirected_arp = REDIRECTED_ARP,
    /// Ours: a neighbour solicitation for an address of the stack's own.
    redirected_neighbour = REDIRECTED_NEIGHBOUR,
    /// Ours, but no socket serves the queue it arrived on.
    dropped_no_socket = DROPPED_NO_SOCKET,
    /// A SYN, answered with a cookie on the spot.
    answered_syn = ANSWERED_SYN,
    /// A SYN that no cookie can hold, or that breaks a rule, or that nobody can have sent.
    dropped_syn = DROPPED_SYN,
    /// A SYN for whose source prefix enough were answered.
    dropped_budget = DROPPED_BUDGET,
    /// A SYN for a closed port.
    dropped_closed = DROPPED_CLOSED,
    /// An acknowledgment that is no flow's and no cookie's.
    dropped_ack = DROPPED_ACK,
    /// An RST that is no flow's.
    dropped_reset = DROPPED_RESET,
    /// A segment that is no flow's, and neither SYN, ACK nor RST; a fragment; or neither TCP, UDP nor ICMP.
    dropped_stray = DROPPED_STRAY,
    /// A segment whose TCP header is cut off.
    dropped_partial = DROPPED_PARTIAL,
    /// Of a pair of connections, translated and sent to the other side.
    spliced = SPLICED,
    /// Of a pair, and too big for the way to the other side; its sender was told.
    answered_splice_too_big = ANSWERED_SPLICE_TOO_BIG,
    /// Likewise, and its sender may not be told, or was told enough.
    dropped_splice_too_big = DROPPED_SPLICE_TOO_BIG,
    /// Of a pair, with headers that contradict themselves.
    dropped_splice_malformed = DROPPED_SPLICE_MALFORMED,
    /// Of a pair, and has come too far.
    dropped_splice_hop_limit = DROPPED_SPLICE_HOP_LIMIT,
    /// Of a pair, with a checksum that hardware was to finish.
    dropped_splice_partial = DROPPED_SPLICE_PARTIAL,
    /// A RST of a pair that was damaged.
    dropped_splice_checksum = DROPPED_SPLICE_CHECKSUM,
    /// A SYN of a pair that acknowledges or closes.
    dropped_splice_syn = DROPPED_SPLICE_SYN,
    /// Of a pair, and neither RST, SYN nor ACK.
    dropped_splice_no_ack = DROPPED_SPLICE_NO_ACK,
    /// Of a pair, where its receiver would neither take nor answer it.
    dropped_splice_sequence = DROPPED_SPLICE_SEQUENCE,
    /// Of a pair, and acknowledges what was never sent, or was long ago.
    dropped_splice_ack = DROPPED_SPLICE_ACK,
    /// A RST of a pair outside the window.
    dropped_splice_reset = DROPPED_SPLICE_RESET,
    /// Of a pair, when what programs send arrived no more: what comes then is the stack's.
    dropped_splice_undelivered = DROPPED_SPLICE_UNDELIVERED,
    ;
    /// Sent to a backend of the load balancer.
    balanced = Outcomes::SENT,
    /// Sent by one, and on to its client, in mode `nat`.
    sent_to_client = Outcomes::ANSWERS,
    /// A SYN for a service of the load balancer, answered with a cookie in a backend's name.
    answered_for_backend = Outcomes::SYN_ACKS,
    /// Too big for the way to its backend; its sender was told.
    answered_too_big = Outcomes::TOLD,
    /// Ours: a flow of the load balancer's that is to be reset, or lost where no socket serves the queue.
    redirected_reset = Outcomes::RESET,
    /// For a service of the load balancer, and no backend can have it.
    dropped_balanced = Outcomes::LOST,
}

// A verdict more in C than here does not compile.
const _: () = assert!(Verdicts::COUNT == verdict::VERDICTS.0 as usize);

/// Segments of no known flow, and SYNs for closed ports.
const STRANGERS: [verdict; 4] =
    [verdict::DROPPED_CLOSED, verdict::DROPPED_ACK, verdict::DROPPED_RESET, verdict::DROPPED_STRAY];

/// Segments that were dropped because they are of no flow and begin none.
pub(super) fn strangers(counters: &MapHandle) -> Result<u64, XdpError> {
    STRANGERS.iter().map(|dropped| sum_of_cpus(counters, dropped.0)).sum()
}

/// Acknowledgments that were dropped because they are of no flow, and no cookies.
pub(super) fn invalid_cookies(counters: &MapHandle) -> Result<u64, XdpError> {
    sum_of_cpus(counters, verdict::DROPPED_ACK.0)
}

/// A counter of all CPUs.
pub fn sum_of_cpus(map: &MapHandle, index: u32) -> Result<u64, XdpError> {
    let per_cpu = map
        .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
        .map_err(|error| refusal::refused("read the XDP program's counters", &error))?;
    let values = per_cpu.iter().flatten().filter_map(|value| value.as_slice().try_into().ok());
    Ok(values.map(u64::from_ne_bytes).sum())
}
