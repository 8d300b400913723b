//! A server: a runtime whose workers each have a [`Service`] on top.
//!
//! ```no_run
//! use xskip::{Server, app::Echo};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! Server::on("veth0").address("198.18.0.1/24".parse()?).port(7).run(|| Echo)?;
//! # Ok(())
//! # }
//! ```

use crate::{
    app::{Service, Services},
    config::StackConfig,
    host::confinement::Confinement,
    rng::SipKey,
    runtime::{Cookies, Notice, RunReport, Running, Runtime, RuntimeError, Station, StopSignals, settings},
    stack::Cidr,
    tcp::MaxSegment,
    worker::{Application, Context, Idle, Tap},
    xdp::Require,
};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// A server to be. Nothing happens, and nothing is checked, before [`Server::start`] or [`Server::run`].
#[derive(Clone)]
pub struct Server {
    pub(crate) runtime: Runtime,
}

impl Server {
    /// A server on the interface of this name.
    pub fn on(interface: impl Into<String>) -> Self {
        Self { runtime: Runtime::on(interface) }
    }

    settings!(self, self.runtime);

    /// Starts serving; `service` makes one service for each worker, on its thread.
    ///
    /// # Errors
    /// [`RuntimeError`] says what stands in the way and what to do about it. Nothing is left behind then.
    pub fn start<S: Service + 'static>(
        &self,
        service: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Running, RuntimeError> {
        self.runtime.check_service()?;
        // A service has no way to open connections but those that were asked for.
        let connects = self.runtime.connects_at_start();
        self.runtime.start_as(connects, move |_| Services::new(service()))
    }

    /// Starts workers with applications of the caller's own: see [`Runtime::start`].
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with<A: Application + 'static>(
        &self,
        application: impl Fn(&mut Context<'_>) -> A + Send + Sync + 'static,
    ) -> Result<Running, RuntimeError> {
        self.runtime.start(application)
    }

    /// Serves until SIGINT or SIGTERM. Where nobody else hears of warnings, they are said on standard error.
    ///
    /// # Errors
    /// As [`Server::start`], and where a worker could not go on.
    pub fn run<S: Service + 'static>(
        &self,
        service: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<RunReport, RuntimeError> {
        let signals = StopSignals::catch()?;
        let aloud = Self { runtime: self.runtime.clone().aloud() };
        aloud.start(service)?.until(signals)
    }
}
