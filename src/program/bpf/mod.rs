//! The XDP programs of labs and benchmarks: a flood, a bare reflector, and a relay's end.

mod flood;
mod reflect;
mod relay;

pub use self::{
    flood::{FloodPlan, FloodProgram, FloodReplies, FloodSource, FloodTemplate},
    reflect::Reflector,
    relay::RelayProgram,
};
