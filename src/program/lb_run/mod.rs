//! The load balancer at work: what `xskip lb run` is, and what the other commands say to it.
//!
//! [`Run::start`] reads a file, balances what it says and goes on by it: the file is read anew when it is replaced, on SIGHUP, and
//! when somebody asks for that. A file that is wrong changes nothing. [`ask`] is what commands use: a line of JSON by way of a
//! socket that only its owner may open, and a line that answers it.

mod checks;
mod error;
mod metrics;
mod protocol;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod unused;
mod watch;

pub use crate::{
    control::{AskError, ControlError},
    telemetry::metrics::MetricsError,
};

pub use self::{
    error::{Refused, RunError},
    protocol::{Answer, Changed, Request, ask},
    session::{Options, Session, Tell},
    status::{BackendReport, PromiseReport, ServiceReport, StatusReport},
};

use self::{protocol::BALANCER, watch::Watch};
use crate::{
    control::{Control, Serving},
    lb_file::File,
    runtime::{RunReport, RuntimeError, StopSignal, StopSignals},
    telemetry::metrics::{Door, Exporter},
};
use std::{io, sync::Arc};

/// A load balancer at work, until it is stopped or dropped.
pub struct Run {
    // Nobody asks for anything any more, or changes anything, by the time that the session ends.
    serving: Serving,
    watch: Watch,
    exporting: Exporter,
    session: Arc<Session>,
}

impl Run {
    /// Balances what a file says. From the moment that this is called, SIGHUP ends the process no more.
    ///
    /// `tell` hears, a text at a time, of one line or several, what there is to say: from any thread, while others wait.
    ///
    /// # Errors
    /// [`RunError`] says what stands in the way and what to do about it. Nothing is left behind then.
    pub fn start(options: Options, tell: Tell) -> Result<Self, RunError> {
        let hangup = watch::catch_hangup().map_err(RunError::system("catch signals"))?;
        let seen = watch::fingerprint(&options.config);
        let file = File::read(&options.config)?;
        // Before anything is touched that another balancer may have.
        let control = Control::take(&BALANCER, &file.control)?;
        file.check_this_host(|note| tell(note))?;
        let door = Arc::new(Door::open(file.metrics)?);
        let session = Arc::new(Session::start(options, file, seen, Arc::clone(&door), tell)?);
        let start = |what| RunError::system(what);
        let attended = || -> Result<_, RunError> {
            let watch = Watch::start(Arc::clone(&session), hangup).map_err(start("watch the file"))?;
            let serving = Serving::start(control, Arc::clone(&session)).map_err(start("serve the control socket"))?;
            let its = Arc::clone(&session);
            let page = move |form| its.page().map(|page| page.write(form)).map_err(|error| error.to_string());
            let exporting = Exporter::at(door, page).map_err(start("serve /metrics"))?;
            Ok((watch, serving, exporting))
        };
        match attended() {
            Ok((watch, serving, exporting)) => Ok(Self { serving, watch, exporting, session }),
            Err(error) => {
                // To drop it would leave packets going on.
                Arc::into_inner(session).into_iter().for_each(|session| _ = session.end(false));
                Err(error)
            }
        }
    }

    /// What runs.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Balances until a signal comes, which is returned, until an interface is gone, or a worker ends by itself. It goes on until it is
    /// stopped, or left.
    pub fn linger(&self, signals: StopSignals) -> Option<StopSignal> {
        self.session.balancing().linger(signals)
    }

    /// Ends: the control socket goes, programs are detached, and the kernel gets its traffic back.
    ///
    /// # Errors
    /// As [`Balancing::stop`](crate::Balancing::stop).
    pub fn stop(self) -> Result<RunReport, RuntimeError> {
        self.end(false)
    }

    /// Ends, to be followed by another one: packets go on to backends for as long as the file says by `survive`. Where it does not, this
    /// is [`Run::stop`].
    ///
    /// # Errors
    /// As [`Run::stop`].
    pub fn leave(self) -> Result<RunReport, RuntimeError> {
        self.end(true)
    }

    fn end(self, leaves: bool) -> Result<RunReport, RuntimeError> {
        let Self { serving, watch, exporting, session } = self;
        drop((serving, watch, exporting));
        let session = Arc::into_inner(session).ok_or_else(|| RuntimeError::System {
            what: "end the balancer",
            source: io::Error::other("somebody still looks at it"),
        })?;
        session.end(leaves)
    }
}
