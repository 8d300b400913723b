//! Busy polling: the driver's receive path is run by whoever waits for frames, instead of by an interrupt (the kernel's
//! Documentation/networking/napi.rst and af_xdp.rst).

use super::socket_options;
use std::{io, os::fd::BorrowedFd, time::Duration};

/// Frames that one look at the driver may bring: what the kernel's own polling takes.
const BUDGET: u32 = 64;

/// Whether a socket polls its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BusyPoll {
    Off,
    /// Asked for; whether there is a driver to be polled shows with the first frame.
    Untried(Duration),
    On(Duration),
}

impl BusyPoll {
    /// Asks for it, where there is a span to keep polling for.
    pub fn set_up(socket: BorrowedFd<'_>, span: Option<Duration>) -> io::Result<Self> {
        let Some(span) = span else { return Ok(Self::Off) };
        let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
        socket_options::prefer_busy_poll(socket, micros, BUDGET)?;
        Ok(Self::Untried(span))
    }

    /// Looks once, when frames have come, whether they came from something that can be polled: the kernel leaves 0 as the id of
    /// the NAPI instance where there is none, and then polls nothing.
    pub fn try_out(&mut self, socket: BorrowedFd<'_>, interface: &str, queue: u32) {
        let Self::Untried(span) = *self else { return };
        *self = match socket_options::incoming_napi_id(socket) {
            Ok(0) | Err(_) => {
                tracing::warn!(
                    interface,
                    queue,
                    "busy polling does nothing here: the driver has no NAPI id to be polled by"
                );
                Self::Off
            }
            Ok(_) => Self::On(span),
        };
    }

    /// How long to keep polling after the last frame; `None` where it would do nothing.
    pub fn span(self) -> Option<Duration> {
        match self {
            Self::On(span) => Some(span),
            Self::Off | Self::Untried(_) => None,
        }
    }
}
