//! One TCP connection, sans I/O.

pub mod state;

pub use state::State;
