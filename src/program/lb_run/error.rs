//! What can stand in a running balancer's way.

use super::{ControlError, MetricsError};
use crate::{
    balancer::BalancerError,
    lb_file::{Faults, KeyError, StateError},
};
use std::{fmt::Display, io};
use thiserror::Error;

/// Why a balancer does not start.
#[derive(Error)]
#[non_exhaustive]
pub enum RunError {
    /// Everything that is wrong with the file, as compilers say it.
    #[error(transparent)]
    Faults(#[from] Faults),

    /// The secret of its rows.
    #[error(transparent)]
    Key(#[from] KeyError),

    /// What was said by hand before.
    #[error(transparent)]
    State(#[from] StateError),

    /// The socket by which it would be spoken to.
    #[error(transparent)]
    Control(#[from] ControlError),

    /// The address for metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),

    /// What stands in the way of balancing.
    #[error(transparent)]
    Balancer(#[from] BalancerError),

    /// What the operating system refuses.
    #[error("could not {what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl RunError {
    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Why something that was asked for is not done: nothing has changed then.
#[derive(Error, Clone, PartialEq, Eq)]
#[error("{0}")]
pub struct Refused(pub(super) String);

impl Refused {
    pub(super) fn new(why: impl Display) -> Self {
        Self(why.to_string())
    }
}

debug_as_display!(RunError, Refused);
