//! Pinned threads that run everything to completion.

pub mod tap;

pub use tap::{Direction, Tap, TapEvent};
