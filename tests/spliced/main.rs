//! A client, a proxy and a backend in virtual time, over bad links: the proxy carries octets until it may part with its two connections,
//! and translates every frame from then on, those among them that were on their way at that moment, or had come and were not read.
//!
//! A run is named by its seed, which decides all of it; one that fails prints how to see it again.

#[allow(dead_code, reason = "the other simulation needs more of it")]
#[path = "../sim/dice.rs"]
mod dice;
#[path = "../sim/pattern.rs"]
mod pattern;

mod app;
mod carrier;
mod plan;
mod proxy;
mod seeds;
mod watch;
mod world;
