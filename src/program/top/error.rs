//! Why nothing is shown, or nothing any more.

use std::io;
use thiserror::Error;

/// Why `xskip top` ends.
#[derive(Error)]
#[non_exhaustive]
pub enum TopError {
    /// There is nothing to draw on.
    #[error("`xskip top` draws on a terminal, and there is none: try `xskip top --once`, or `xskip show workers`")]
    NoTerminal,
    /// The terminal does not do what it is told.
    #[error("the terminal cannot be drawn on: {0}; try `xskip top --once`, or `xskip show workers`")]
    Terminal(#[source] io::Error),
    /// There is no picture, or none any more.
    #[error("{0}")]
    NoPicture(String),
    /// A thread or a signal handler is not to be had.
    #[error("{what} is not to be had: {source}; end other programs, or raise `ulimit -u`")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

debug_as_display!(TopError);
