//! One kind of stack at both ends of a wire, in virtual time, with everything going wrong that can.
//!
//! A run is named by its seed, which decides all of it; one that fails prints how to see it again.

mod apps;
mod broken;
mod dice;
mod golden;
mod heard;
mod icmp;
mod link;
mod misbehaviour;
mod pattern;
mod scenario;
mod seeds;
mod speed;
mod trace;
mod verdict;
mod waiting;
mod watch;
mod world;
