//! Pinned threads that run everything to completion.

mod application;
pub mod tap;

pub use self::{
    application::Application,
    tap::{Direction, Tap, TapEvent},
};
