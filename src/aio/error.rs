//! What the stack says, as [`io::Error`]s of the kinds that sockets have.

use crate::{
    stack::{BindError, ConnectError, ListenError, SendError},
    tcp::CloseReason,
    worker::{BindRefused, ListenRefused},
};
use std::io::{self, ErrorKind};

/// Why a connection is no more; what was written to one that has ended in order finds a broken pipe.
pub(super) fn closed(reason: CloseReason) -> io::Error {
    let kind = match reason {
        CloseReason::Finished => ErrorKind::BrokenPipe,
        CloseReason::ResetByPeer => ErrorKind::ConnectionReset,
        CloseReason::TimedOut => ErrorKind::TimedOut,
        CloseReason::Aborted => ErrorKind::ConnectionAborted,
        CloseReason::Refused => ErrorKind::ConnectionRefused,
        CloseReason::Unreachable => ErrorKind::HostUnreachable,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, reason)
}

pub(super) fn connect(error: ConnectError) -> io::Error {
    let kind = match error {
        ConnectError::NotUnicast(_) | ConnectError::OwnAddress(_) | ConnectError::PortZero => ErrorKind::InvalidInput,
        ConnectError::NotOurs(_) | ConnectError::NoPortLeft(_) => ErrorKind::AddrNotAvailable,
        ConnectError::NoRoute(_) => ErrorKind::NetworkUnreachable,
        ConnectError::InUse(_) => ErrorKind::AddrInUse,
        ConnectError::Neighbours(_) | ConnectError::Limit(_) => ErrorKind::QuotaExceeded,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

pub(super) fn listen(refused: ListenRefused) -> io::Error {
    let kind = match &refused {
        ListenRefused::Stack(ListenError::PortZero) => ErrorKind::InvalidInput,
        ListenRefused::Stack(ListenError::Twice { .. }) => ErrorKind::AddrInUse,
        ListenRefused::Stack(ListenError::Limit(_)) => ErrorKind::QuotaExceeded,
        ListenRefused::NotServed(_) => ErrorKind::AddrNotAvailable,
        ListenRefused::OnlyConnects => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, refused)
}

pub(super) fn bind(refused: BindRefused) -> io::Error {
    let kind = match &refused {
        BindRefused::Stack(BindError::PortZero) => ErrorKind::InvalidInput,
        BindRefused::Stack(BindError::NotOurs(_)) => ErrorKind::AddrNotAvailable,
        BindRefused::Stack(BindError::InUse(_)) => ErrorKind::AddrInUse,
        BindRefused::Stack(BindError::Limit(_)) => ErrorKind::QuotaExceeded,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, refused)
}

pub(super) fn send(error: SendError) -> io::Error {
    let kind = match error {
        SendError::Unbound => ErrorKind::NotConnected,
        SendError::PortZero | SendError::NotUnicast(_) | SendError::TooLong { .. } => ErrorKind::InvalidInput,
        SendError::NotOurs(_) => ErrorKind::AddrNotAvailable,
        SendError::NoRoute(_) => ErrorKind::NetworkUnreachable,
        SendError::QueueFull | SendError::Neighbours(_) => ErrorKind::WouldBlock,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
