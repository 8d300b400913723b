//! What programs count: what becomes of packets, and what each backend gets.

use super::{XdpError, create};
use crate::{
    lb::{Obstacle, Refusal, Why},
    xdp::{refusal, steer::types, verdicts::sum_of_cpus},
};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, libbpf_sys, num_possible_cpus};
use std::{
    mem::size_of,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
};

/// The index of a backend that is not counted.
pub(super) const NO_TALLY: u32 = u32::MAX;
const TALLY_LEN: usize = size_of::<types::tally>();

/// `FIRST_OUTCOME` of `bpf/outcomes.h`.
const FIRST: u32 = 32;
/// `enum outcome` of `bpf/outcomes.h`.
const REFUSALS: usize = Why::ALL.len();
const OBSTACLES: usize = REFUSALS + Refusal::ALL.len();
const TOLD: usize = OBSTACLES + Obstacle::ALL.len();
const RESET: usize = TOLD + 1;
const UNKNOWN: usize = RESET + 1;
const ANSWERS: usize = UNKNOWN + 1;
const SYN_ACKS: usize = ANSWERS + 1;
const OUTCOMES: usize = SYN_ACKS + 1;

/// What has become of packets for services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes([u64; OUTCOMES]);

impl Outcomes {
    /// Those of packets that go to backends, and of all others.
    pub(crate) const SENT: Range<usize> = 0..REFUSALS;
    pub(crate) const LOST: Range<usize> = REFUSALS..TOLD;
    pub(crate) const TOLD: Range<usize> = TOLD..RESET;
    pub(crate) const RESET: Range<usize> = RESET..ANSWERS;
    pub(crate) const ANSWERS: Range<usize> = ANSWERS..SYN_ACKS;
    pub(crate) const SYN_ACKS: Range<usize> = SYN_ACKS..OUTCOMES;

    /// Reads them from a program's counters, over all CPUs.
    pub(crate) fn read(counters: &MapHandle) -> Result<Self, XdpError> {
        let mut counts = [0; OUTCOMES];
        for (index, count) in (FIRST..).zip(&mut counts) {
            *count = sum_of_cpus(counters, index)?;
        }
        Ok(Self(counts))
    }

    pub(crate) fn sum(&self, outcomes: Range<usize>) -> u64 {
        self.0[outcomes].iter().sum()
    }

    /// Adds what has become of packets elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    /// Packets that went to a backend for this reason.
    pub fn forwarded(&self, why: Why) -> u64 {
        self.0[why as usize]
    }

    /// Packets that the tables sent nowhere, for this reason.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.0[REFUSALS + refusal as usize]
    }

    /// Packets that did not get to the backend that the tables name.
    pub fn hindered(&self, obstacle: Obstacle) -> u64 {
        self.0[OBSTACLES + obstacle as usize]
    }

    /// Packets too big for the way, whose senders were told.
    pub fn told_too_big(&self) -> u64 {
        self.0[TOLD]
    }

    /// Packets that were handed to the stack, which resets their flows.
    pub fn reset(&self) -> u64 {
        self.0[RESET]
    }

    /// Packets in the midst of no flow that there is, in mode `nat`, which were handed to the stack likewise.
    pub fn reset_unknown(&self) -> u64 {
        self.0[UNKNOWN]
    }

    /// Packets that backends sent to clients by way of this balancer, in mode `nat`.
    pub fn answers(&self) -> u64 {
        self.0[ANSWERS]
    }

    /// SYNs that were answered in backends' names.
    pub fn answered_syns(&self) -> u64 {
        self.0[SYN_ACKS]
    }

    /// Each of them with its name, in the order of the program.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Why::ALL.iter().map(|why| why.name());
        let names = names.chain(Refusal::ALL.iter().map(|refusal| refusal.name()));
        let names = names.chain(Obstacle::ALL.iter().map(|obstacle| obstacle.name()));
        names.chain(["told_too_big", "reset", "reset_unknown", "answers", "answered_syn"]).zip(self.0)
    }
}

/// What a backend has got since it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Octets of them as they came, from the IP header on.
    pub octets: u64,
    /// New flows, by their SYNs: those that went to it, and those that were answered in its name.
    pub flows: u64,
    /// Segments of its flows that were reset, as it is down and its service wants it so.
    pub resets: u64,
}

#[derive(Debug)]
pub(super) struct Counters {
    tallies: MapHandle,
    fresh: Range<u32>,
    free: Vec<u32>,
}

impl Counters {
    pub fn new(tallies: u32, options: &libbpf_sys::bpf_map_create_opts) -> Result<Self, XdpError> {
        Ok(Self {
            tallies: create(MapType::PercpuArray, "tallies", (4, TALLY_LEN), tallies.max(1) as usize, options)?,
            fresh: 0..tallies,
            free: Vec::new(),
        })
    }

    pub fn tallies(&self) -> BorrowedFd<'_> {
        self.tallies.as_fd()
    }

    /// An index to count by, at nought; [`NO_TALLY`] where all are taken.
    pub fn take(&mut self) -> Result<u32, XdpError> {
        if let Some(fresh) = self.fresh.next() {
            return Ok(fresh);
        }
        let Some(used) = self.free.pop() else { return Ok(NO_TALLY) };
        let cpus = num_possible_cpus().map_err(|error| refusal::refused("count the CPUs", &error))?;
        self.tallies
            .update_percpu(&used.to_ne_bytes(), &vec![vec![0; TALLY_LEN]; cpus], MapFlags::ANY)
            .map_err(|error| refusal::refused("set a backend's counters to nought", &error))?;
        Ok(used)
    }

    pub fn give_back(&mut self, tally: u32) {
        if tally != NO_TALLY {
            self.free.push(tally);
        }
    }

    pub fn read(&self, tally: u32) -> Result<Tally, XdpError> {
        if tally == NO_TALLY {
            return Ok(Tally::default());
        }
        let per_cpu = self.tallies.lookup_percpu(&tally.to_ne_bytes(), MapFlags::ANY);
        let per_cpu = per_cpu.map_err(|error| refusal::refused("read a backend's counters", &error))?;
        let mut sum = Tally::default();
        for octets in per_cpu.iter().flatten() {
            let word = |at: usize| octets.get(8 * at..8 * at + 8).and_then(|it| it.try_into().ok());
            let word = |at: usize| word(at).map_or(0, u64::from_ne_bytes);
            sum.packets += word(0);
            sum.octets += word(1);
            sum.flows += word(2);
            sum.resets += word(3);
        }
        Ok(sum)
    }
}
