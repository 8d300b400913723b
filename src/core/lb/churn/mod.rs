//! How well flows keep to their backends while everything changes around them, by whatever a balancer goes by: a world in virtual
//! time, drawn from a number.
//!
//! Clients' flows begin, speak and end; two balancers with one key carry them; an operator adds, drains, removes and weighs
//! backends, and each balancer hears of that a little later than the other; checks fail though backends are well; strangers send
//! what belongs to no flow. The same number makes the same world for every [`Method`].

mod directors;
mod world;

use self::world::World;
use super::RowCount;

/// How a balancer knows where a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// What this room does.
    Rows,
    /// Every packet goes where new flows go.
    Hash,
    /// Each flow is remembered, until too many others are.
    Lru,
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of each service's table.
    pub rows: RowCount,
    /// Backends that each service has at first.
    pub backends: u64,
    /// Flows that begin.
    pub flows: u64,
    /// How often the operator changes something; one change may be two steps.
    pub changes: u64,
    /// How long flows begin and changes come, in virtual time.
    pub seconds: u64,
    /// How many flows may be remembered by each balancer, by whatever method.
    pub memory: usize,
    /// Whether packets of a flow may come by the other balancer from some time on.
    pub moves: bool,
    /// Whether strangers send SYNs, and segments of no flow.
    pub flood: bool,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Flows that began.
    pub flows: u64,
    /// Segments of flows, with the ICMP errors about them left out.
    pub segments: u64,
    /// Changes of the configuration.
    pub changes: u64,
    /// Flows of which a segment went to another backend than before, though that lives, or nowhere.
    pub broken: u64,
    /// Flows broken that came by another balancer than they began at, where no balancer without shared state
    /// could know.
    pub excused: u64,
    /// SYNs that went nowhere.
    pub refused: u64,
    /// Flows that were remembered at most, by both.
    pub remembered: u64,
    /// Of the flows broken, how many were while so many changes had been made, from none on.
    pub broken_after: Vec<u64>,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.flows += other.flows;
        self.segments += other.segments;
        self.changes += other.changes;
        self.broken += other.broken;
        self.excused += other.excused;
        self.refused += other.refused;
        self.remembered = self.remembered.max(other.remembered);
        let length = self.broken_after.len().max(other.broken_after.len());
        self.broken_after.resize(length, 0);
        for (sum, count) in self.broken_after.iter_mut().zip(other.broken_after) {
            *sum += count;
        }
    }
}

/// Lets a world pass. What came of it, and what is to be said of the first flow that was broken where it need not be.
///
/// # Panics
/// Where a service would have no backends.
pub fn run(seed: u64, shape: Shape, method: Method) -> (Outcome, String) {
    World::new(seed, shape, method).run()
}
