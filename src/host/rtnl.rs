//! A synchronous face for `rtnetlink`, which is asynchronous: a current-thread runtime, and nobody above sees it.

use std::{future::Future, io};

use futures_util::{Stream, StreamExt};
use rtnetlink::Handle;
use tokio::runtime::{Builder, Runtime};

use super::HostError;

/// A route netlink socket in the network namespace of the thread that opened it.
pub(super) struct Rtnl {
    runtime: Runtime,
    handle: Handle,
}

impl Rtnl {
    pub(super) fn open() -> Result<Self, HostError> {
        let failed = |error| HostError::refused("open a route netlink socket", error);
        let runtime = Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let handle = {
            let _entered = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
            runtime.spawn(connection);
            handle
        };
        Ok(Self { runtime, handle })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a request to its end; `what` completes the sentence "could not ...".
    pub(super) fn run<T>(
        &self,
        what: impl FnOnce() -> String,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, HostError> {
        self.runtime.block_on(request).map_err(|error| explain(what(), error))
    }

    /// Runs a dump to its end and gathers what it yields.
    pub(super) fn collect<T>(
        &self,
        what: impl FnOnce() -> String,
        dump: impl Stream<Item = Result<T, rtnetlink::Error>>,
    ) -> Result<Vec<T>, HostError> {
        let items: Vec<_> = self.runtime.block_on(dump.collect());
        items.into_iter().collect::<Result<_, _>>().map_err(|error| explain(what(), error))
    }
}

fn explain(what: String, error: rtnetlink::Error) -> HostError {
    match error {
        rtnetlink::Error::NetlinkError(message) => HostError::refused(what, message.to_io()),
        rtnetlink::Error::RequestFailed => HostError::refused(what, io::Error::from(io::ErrorKind::BrokenPipe)),
        other => HostError::Reply { what, why: other.to_string() },
    }
}
