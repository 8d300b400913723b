//! A load balancer's tables: which backend a flow goes to, decided anew for every packet from a table that is the same
//! everywhere, and yet never decided otherwise while the flow lives.
//!
//! Nothing here reads a clock, sees an interface or parses a frame: a [`Flow`], what [`Kind`] of packet it is and the
//! time go in, and a [`Decision`] comes out. Everything that decides is whole numbers in arrays, laid out for a program
//! in the kernel that does the same: this is the model that it must equal.
//!
//! # The life of a row
//!
//! A flow's keyed hash names one of 65,537 rows, and a row names backends: `now`, where new flows go, and sometimes
//! `before`, where older ones went. Where a flow goes that is not remembered is the row's *home*: `before`, if there is
//! one, else `now`.
//!
//! ```text
//!                   settled                     in transition                            settled
//!                ┌───────────┐ the table  ┌────────────────────────┐ no older flow  ┌───────────┐
//!                │ now    A  │ changes    │ now    B               │ has spoken for │ now    B  │
//!                │ before -  │ ─────────▶ │ before A   heard 12:07 │ ─────────────▶ │ before -  │
//!                └───────────┘            └────────────────────────┘ the window, or └───────────┘
//!                                            │  ▲               │    A has gone
//!     SYN ──────▶ A                          │  │ the table     ├─▶ SYN ───────────▶ B, and the flow is remembered
//!     any other ▶ A                          └──┘ changes again └─▶ any other ─────▶ B if remembered, else A: heard
//!                                     now C, before A: the older stays
//! ```
//!
//! - **Configuration makes the table** ([`Placement`]: [`Maglev`], [`Rendezvous`], or one's own), from names and
//!   weights in no order. So balancers with the same configuration and key have the same table, and a flow that comes
//!   by another one finds its backend.
//! - **Health masks it.** New flows of a row whose backend is down go to its second choice, known beforehand, and are
//!   remembered; the rows stay as they are, because balancers that check for themselves disagree for seconds.
//! - **Memory is for exceptions.** Remembered is a flow that began elsewhere than at its row's home: while the row is
//!   in transition, or around a backend that was down. Only a SYN is ever a reason. In between, a balancer knows
//!   nothing of any flow.
//! - **Removed is forgotten at once, drained is not:** `before` leads to a backend that drains until its flows are
//!   silent or the deadline is over.
//! - **UDP has no SYN,** so nothing tells older flows from new ones: rows change at once, unless a flow was
//!   [pinned](Balancer::pin).
//! - **An ICMP error is no SYN** and no word of the flow: it finds the flow's backend and leaves no trace.
//!
//! # Why no flow breaks
//!
//! *A flow that is not remembered is at its row's home.* When it begins, either home is where it goes, or it is
//! remembered. Then the home must not move, as long as it lives and its flows speak; and no step moves it:
//!
//! 1. A settled row that changes keeps its backend as `before`, and so its home.
//! 2. A row in transition that changes keeps `before`, however often. Flows that began in between are remembered, each
//!    at its own backend.
//! 3. A row that changes back to its home has no `before`, and the same home.
//! 4. `before` ends when its backend has gone, and its flows with it, or when none of them has spoken for the window,
//!    two hours by default, which is longer than keep-alives are apart (RFC 5382 REQ-5). A flow that is silent for
//!    longer is one that may break.
//! 5. An entry ends when its flow has been silent for the window, or for a minute behind a FIN or RST; or when the row
//!    has settled on the backend it names: then it is at home.
//!
//! *And when memory is full?* A flow that cannot be remembered goes to its row's home, where it need not be. So a flood
//! of SYNs puts a change off while it lasts, and breaks nothing. Where home is down, the SYN is dropped and counted,
//! and comes again.
//!
//! *And when segments are forged?* Nothing tells them from an older flow's, so they keep rows in transition: that takes
//! memory, and no flow. A drain under them ends at its deadline.
//!
//! *And when a SYN is forged?* An entry only claims that a flow has begun, until a segment comes within 128 KiB of the
//! SYN's sequence number: whoever forges one does not know the flow's, and is 1 in 32,768 to be near. Until then what
//! comes goes where it went before. A forged FIN or RST is believed until the flow's next segment.
//!
//! *Where it ends:* A flow that was remembered, and is then carried by another balancer, is not remembered there; nor
//! do others hear of older flows that speak here. No state is shared, so a flow is safe from a change of routes where
//! its row was settled when it began, and for a window after the next change. A SYN that is repeated across the very
//! moment of a change may meet two backends. And a name that gets another address is the same backend to a table.
//!
//! # How much that takes
//!
//! | what | how much |
//! | --- | --- |
//! | a table | 8 bytes a row: 512 KiB of 65,537 rows; one for all services with the same backends and past |
//! | rows that move when one of 100 backends goes | its own, 1 %, and 0.5 to 0.6 % of the others' |
//! | flows remembered then | 1.6 % of the new ones, while it drains: of 10,000 a second that last ten seconds and are kept for a minute more, 11,000 |
//! | flows remembered in a steady state | none, and nothing is looked up: a row says whether it is watched |
//! | an entry | 24 bytes in a map; [`Limits::exceptions`] at most |
//! | backends of a service | [`MAX_BACKENDS`]; Maglev takes as many steps for few as for many |
//!
//! # What a program in the kernel needs of it
//!
//! | map | where it comes from | who writes it |
//! | --- | --- | --- |
//! | rows, 64 bits each, by table | [`Balancer::rows`], [`Balancer::table`] | we; `heard` the program, once a tick |
//! | backends of a service, by number | [`Balancer::slots`] | we |
//! | those that take new flows | [`Balancer::spare`] | we |
//! | entries, 128 bits each, by hash | [`Balancer::entries`] | the program; we take out |
//! | key of the row hash, windows | [`RowKey::of_flows`], [`Windows::in_ticks`] | we, once |
//!
//! Before a plan is applied or a time-out handled, what it wrote is learnt ([`Balancer::learn_rows`],
//! [`Balancer::learn_entries`]); afterwards a new table is written beside the old one and takes its place with one
//! store. What is heard in between is lost, which is milliseconds of a window of hours. Where health falls, rows are
//! watched first and the backend is marked afterwards, so that no flow begins elsewhere unseen.
//!
//! # Sources
//!
//! - Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016: the table.
//! - Mendelson, Vargaftik, Lorenz, Barabash, Keslassy and Orda, "Load Balancing with JET: Just Enough Tracking for
//!   Connection Consistency", CoNEXT 2020: that only flows in what changes need be tracked. There those are foreseen;
//!   here a SYN tells them.
//! - Olteanu, Agache, Voinescu and Raiciu, "Stateless Datacenter Load-balancing with Beamer", NSDI 2018, and GitHub's
//!   GLB: rows with two generations. There backends pass on what is not theirs, which takes a module on each of them;
//!   here a few entries do.
//!
//! ```
//! use std::{net::SocketAddr, sync::Arc};
//! use xskip_core::{lb::*, rng::SipKey, time::Instant, wire::{FourTuple, SeqNumber}};
//!
//! let end = |text: &str| text.parse::<SocketAddr>().unwrap();
//! let key = RowKey::new(SipKey::from_seed(1)); // a fleet's secret, the same on every balancer
//! let backends = ["198.18.0.11:443", "198.18.0.12:443"].map(|it| Backend::new(format!("web-{it}"), end(it)));
//! let maglev = Arc::new(Maglev::new(key.of_placement()));
//! let web = Service::tcp("web", end("198.18.0.80:443"), maglev).with(backends);
//!
//! let (mut balancer, now) = (Balancer::new(key, Limits::default()), Instant::ZERO);
//! let plan = balancer.plan([web], now).unwrap();
//! print!("{plan}");
//! balancer.apply(&plan, now).unwrap();
//!
//! let tuple = FourTuple { local: end("198.18.0.80:443").into(), remote: end("203.0.113.9:40000").into() };
//! let flow = Flow { transport: Transport::Tcp, tuple };
//! let backend = balancer.decide(&flow, Kind::Syn(SeqNumber::new(7)), now).backend().unwrap();
//! assert_eq!(balancer.decide(&flow, Kind::Segment(SeqNumber::new(8)), now).backend(), Some(backend));
//! print!("{}", balancer.explain(&flow, now));
//! ```

mod backend;
mod balancer;
pub mod churn;
mod decide;
mod exceptions;
mod explain;
mod flow;
mod forward;
mod hand_over;
mod health;
mod image;
mod nat;
mod placement;
mod plan;
mod proxied;
mod report;
mod row;
mod sight;
mod table;
#[cfg(test)]
mod tests;
mod time_window;

pub use crate::transport::Transport;

pub use self::{
    backend::{
        Backend, BackendId, Fragments, MAX_BACKENDS, MAX_WEIGHT, Mode, Number, OnUnhealthy, Service, ServiceId, State,
        SynProxy, WhenAllDown,
    },
    balancer::{Balancer, Limits, Slot},
    decide::{Counts, Decision, Refusal, Why},
    exceptions::Entry,
    flow::{Flow, FlowHash, Kind, RowKey},
    forward::{Forwarded, GUE_PORT, Obstacle, Way},
    hand_over::{Answering, HAND_OVER_WINDOW_SCALE, Promise},
    health::{Health, HealthSource, Pace, Script, Tally},
    image::{BadImage, Image, ServiceImage, Share},
    nat::{
        Arrival, Census, MAX_FLOWS, MAX_SOURCES, NatClaim, NatFlow, NatMemory, NatSettings, NatTable, NatTicks,
        NatWindows, NoFlow, Opening, Said,
    },
    placement::{Candidate, Maglev, Placement, Rendezvous, RowCount},
    plan::{ApplyError, MAX_SERVICES, Plan, PlanError, check},
    proxied::{Proxied, Source, is_server_name},
    report::{Change, ServiceChange},
    row::Row,
    time_window::{Tick, Ticks, Windows},
};
