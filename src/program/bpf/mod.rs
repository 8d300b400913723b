//! The XDP programs of labs and benchmarks, a flood, a bare reflector, a bare redirect and a relay's end; and the tc program of a
//! balancer's backends.

mod backend;
mod flood;
mod redirect;
mod reflect;
mod relay;

pub use self::{
    backend::{
        AttachedBackend, BackendMaster, BackendProgram, BackendSettings, BackendTallies, MAX_BACKEND_ADDRESSES,
        MAX_BACKEND_SENDERS,
    },
    flood::{FloodPlan, FloodProgram, FloodReplies, FloodSource, FloodTemplate},
    redirect::{PassOn, Redirector, Sink},
    reflect::Reflector,
    relay::RelayProgram,
};
