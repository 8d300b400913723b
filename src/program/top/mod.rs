//! `xskip top`: what a server does, live on a terminal.
//!
//! A [`Picture`] is what a server was like at one moment, as plain data; a [`History`] makes rates of them; [`draw`] makes a screen of
//! that and of a [`View`], which is what whoever looks has chosen. None of these knows where pictures come from, nor of any terminal.
//! [`watch`] has both: a thread asks for pictures, so that a key is never waited for, and [`once`] makes a text of one screen.

mod draw;
mod error;
mod history;
mod once;
mod picture;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod view;
mod watch;

pub use self::{
    draw::draw,
    error::TopError,
    history::{ConnectionRates, History, Moment, WorkerRates},
    once::once,
    picture::{Both, Connection, Handshakes, Listener, Picture, Refusal, Sequence, Worker},
    terminal::has_terminal,
    view::{Key, Order, Screen, View},
    watch::watch,
};

/// What waits until it is time for another picture and takes it, or says in a sentence why there is none.
pub trait Look: FnMut() -> Result<Picture, String> {}

impl<F: FnMut() -> Result<Picture, String>> Look for F {}
