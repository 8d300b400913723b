//! Where `/metrics` can be had: an address of the kernel's, which may move.

use super::clients::bell;
use nix::sys::eventfd::EventFd;
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use thiserror::Error;

/// Why there are no metrics at an address.
#[derive(Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Somebody listens there.
    #[error("`metrics` cannot be at {address}, where somebody else listens: `ss -ltnp` says who; give another port")]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// What is had already is in the way.
    #[error(
        "`metrics` cannot move from {from} to {address}, which overlap: give another port, or stop the program and start it again"
    )]
    Overlaps {
        /// The address.
        address: SocketAddr,
        /// Where they are.
        from: SocketAddr,
    },
    /// It is not this host's.
    #[error("this host has no address {}, which `metrics` needs to be the kernel's: give one of its own, such as 127.0.0.1", .address.ip())]
    Elsewhere {
        /// The address.
        address: SocketAddr,
    },
    /// The port is one that takes a right.
    #[error(
        "`metrics` at port {} would take CAP_NET_BIND_SERVICE, which is not kept: give a port from 1024 on", .address.port()
    )]
    NotPermitted {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("`metrics` cannot be had at {address}: {source}")]
    System {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

debug_as_display!(MetricsError);

/// The address, if there is any, for whoever waits there and whoever moves it.
#[derive(Debug)]
pub struct Door {
    at: Mutex<Option<Open>>,
    moved: EventFd,
}

/// An address that is listened at.
#[derive(Clone, Debug)]
struct Open {
    address: SocketAddr,
    listener: Arc<TcpListener>,
}

/// Where it is to be from now on. The address is had already.
pub struct Move(Option<Open>);

impl Door {
    /// Takes the address, if there is any.
    ///
    /// # Errors
    /// [`MetricsError`] says what to do.
    pub fn open(metrics: Option<SocketAddr>) -> Result<Self, MetricsError> {
        let open = metrics.map(|address| bind(address, None)).transpose()?;
        // Only a process without descriptors has none of these.
        let no_bell = |source| MetricsError::System { address: ([0, 0, 0, 0], 0).into(), source };
        Ok(Self { at: Mutex::new(open), moved: bell().map_err(no_bell)? })
    }

    fn at(&self) -> MutexGuard<'_, Option<Open>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to wait at.
    pub fn listener(&self) -> Option<Arc<TcpListener>> {
        self.at().as_ref().map(|open| Arc::clone(&open.listener))
    }

    /// Rings when [`Door::listener`] is another one.
    pub fn bell(&self) -> &EventFd {
        &self.moved
    }

    /// Takes another address, beside the one that is had until [`Door::go`]; `None` where it is the same.
    ///
    /// # Errors
    /// [`MetricsError`], and nothing changes.
    pub fn prepare(&self, metrics: Option<SocketAddr>) -> Result<Option<Move>, MetricsError> {
        let from = self.at().as_ref().map(|open| open.address);
        if from == metrics {
            return Ok(None);
        }
        Ok(Some(Move(metrics.map(|address| bind(address, from)).transpose()?)))
    }

    /// Moves there: who comes to the old address finds nobody.
    pub fn go(&self, there: Move) {
        *self.at() = there.0;
        self.moved.write(1).ok();
    }
}

fn bind(address: SocketAddr, from: Option<SocketAddr>) -> Result<Open, MetricsError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = listen().map_err(|source: io::Error| match (source.kind(), from) {
        (ErrorKind::AddrInUse, Some(from)) if from.port() == address.port() => MetricsError::Overlaps { address, from },
        (ErrorKind::AddrInUse, _) => MetricsError::Taken { address },
        (ErrorKind::AddrNotAvailable, _) => MetricsError::Elsewhere { address },
        (ErrorKind::PermissionDenied, _) => MetricsError::NotPermitted { address },
        _ => MetricsError::System { address, source },
    })?;
    Ok(Open { address, listener: Arc::new(listener) })
}
