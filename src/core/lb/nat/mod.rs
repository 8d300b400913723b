//! Flows of services in mode `nat`, where every packet is rewritten both ways: a client's to the backend from an address and
//! port of the balancer's, the backend's answer to the client from the service's.
//!
//! A flow that is rewritten has to be remembered. The table of flows is memory that XDP programs and this process share:
//! programs open flows, look them up and hear of them; this process only ends those that are over. So nothing here takes a
//! lock, and each step is one store, or one compare-and-swap, after which the table is right.
//!
//! ```text
//!   sets      of 8 flows: their keys on one cache line, then what is kept of each, 88 octets
//!             the set is a hash of (backend, its port, source, port): an answer finds its flow there
//!   index     buckets of 16 numbers of flows with a tag of 8 bits, on one cache line
//!             two buckets by the row hash: a client's packet finds its flow there
//!
//!             a program claims it           a program           this process: silent too long
//!    FREE ───────────────────────▶ CLAIMED ──────────▶ LIVE ───────────────────────────▶ DYING
//!     ▲                               ▲ │     fills it    ▲  ◀─────────────────────────── │ │
//!     └───────────────────────────────┼─┘                 └── a program: it has spoken ───┘ │
//!            out of the index         └────────────── this process: a sweep later ──────────┘
//! ```
//!
//! - **A key is nobody else's.** It says source, port and protocol, and 40 bits of a hash of these and the backend. A flow is
//!   never opened where its set has that key already, so two flows are never one to a backend. Ports are shared out by CPU: no
//!   two CPUs ever claim the same one.
//! - **A flow goes where its entry says** as long as its backend lives, whatever rows say. Nothing else is remembered of it.
//! - **Only a client opens flows**: by a SYN, or a datagram. Answers, ICMP errors and segments in the midst of nothing do not.
//! - **A client that uses its port again keeps the flow's port** at the same backend. There a TIME-WAIT may wait for it, which
//!   accepts what goes on from the client's own last connection (RFC 6191): of another client it would know nothing.
//! - **Established flows are never thrown out.** Where a set is full, the oldest flow in it that nobody has answered, or that
//!   has ended, makes room when it has been silent for a tick or two: a flood of SYNs crowds out itself. Where no port is free,
//!   that of a flow that has ended is used again: so many connections come and go that to wait for a TIME-WAIT would be to refuse.

mod expiry;
mod flow;
mod rewrite;
mod settings;
mod table;
mod translate;

pub use self::{
    expiry::{Census, NatTicks, NatWindows},
    flow::{NatFlow, Said},
    settings::{MAX_FLOWS, MAX_SOURCES, NatSettings},
    table::{NatClaim, NatMemory, NatTable, NoFlow, Opening},
    translate::Arrival,
};
