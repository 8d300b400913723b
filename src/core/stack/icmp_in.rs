//! ICMP errors about our segments: whose they are, whether they can be believed, and what follows (RFC 9293 §3.9.2.2).

use super::{ConnectionId, Event, Stack, flow_table::Flow};
use crate::{
    drops::DropReason,
    tcp::{Cause, CloseReason, Happening, path_mtu::believed_mtu},
    time::Instant,
    wire::{ErrorKind, IcmpError, IpHeader, LinkHeader, Unreachable},
};

/// What an application may want to know of a connection that goes on nevertheless: a soft error (RFC 1122 §4.2.4.1, RFC 9293
/// §3.9.1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SoftError {
    /// A router or the host says that the peer cannot be reached. Routes change, so TCP goes on trying (MUST-56).
    #[error("unreachable, says a router or the host: {kind:?}")]
    Unreachable {
        /// Why.
        kind: Unreachable,
    },
    /// A segment did not arrive in time, or crossed too many routers.
    #[error("a segment took too long, or crossed too many routers")]
    TimeExceeded,
    /// Somebody did not understand a segment's IP header.
    #[error("a router or the host did not understand an IP header")]
    ParameterProblem,
    /// A segment has been sent again so often that the connection is likely to be given up: R1 of RFC 9293 §3.8.3.
    #[error("a segment was sent again and again without an answer")]
    ExcessiveRetransmission,
}

impl SoftError {
    /// A bit of its own for each, whatever its details.
    const fn bit(self) -> u8 {
        match self {
            Self::Unreachable { .. } => 1,
            Self::TimeExceeded => 2,
            Self::ParameterProblem => 4,
            Self::ExcessiveRetransmission => 8,
        }
    }
}

/// Soft errors that wait to be told to an application: each once, so that nobody can fill the queue of events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PendingErrors(u8);

impl PendingErrors {
    /// Adds one; whether it was not among them.
    fn add(&mut self, error: SoftError) -> bool {
        let before = self.0;
        self.0 |= error.bit();
        self.0 != before
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Takes one out that has been told.
    pub fn remove(&mut self, error: SoftError) {
        self.0 &= !error.bit();
    }
}

impl Stack {
    /// Tells the application, unless it does not want to know (SHLD-20) or is about to hear the same anyway.
    pub(super) fn report_soft_error(&mut self, now: Instant, index: u32, error: SoftError) {
        if let Some(entry) = self.connections.awake_mut(index) {
            entry.connection.note(now, Happening::SoftError(error.bit().trailing_zeros()));
        }
        let Some(entry) = self.connections.get_mut(index, &self.config.tcp).filter(|_| self.config.soft_error_events)
        else {
            return;
        };
        if entry.pending_errors.add(error) {
            let id = ConnectionId { index, generation: entry.generation };
            self.events.push_back(Event::SoftError(id, error));
        }
    }

    /// Finds the flow by what the error quotes (MUST-54).
    pub(super) fn handle_icmp_error(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        ip: &IpHeader,
        error: &IcmpError,
    ) -> Result<(), DropReason> {
        let tuple = &error.quote.tuple;
        let is_for_us = !link.destination.is_group() && self.addresses.contains(ip.destination);
        if !is_for_us || tuple.local.address != ip.destination {
            return Err(DropReason::UnmatchedIcmp);
        }
        match self.find(tuple, self.secrets.identify(tuple)) {
            Some(Flow::Connection(index)) => self.icmp_error_at_connection(now, index, error),
            Some(Flow::HalfOpen(index)) => self.icmp_error_at_half_open(index, error),
            None if self.parted.contains(tuple) => self.icmp_error_at_pair(now, tuple, error),
            // TIME-WAIT has nothing in flight that it would send again.
            Some(Flow::TimeWait(_)) | None => Err(DropReason::UnmatchedIcmp),
        }
    }

    /// RFC 9293 lets connections survive the soft errors (MUST-56, SHLD-25) and asks to abort on the hard ones (SHLD-26). RFC 5927
    /// §4.2 and §5.2 found that a peer which has answered once speaks TCP and listens, so for a synchronized connection the hard
    /// ones are soft, too: only one that is still being opened ends.
    fn icmp_error_at_connection(&mut self, now: Instant, index: u32, error: &IcmpError) -> Result<(), DropReason> {
        // One that sleeps has nothing in flight, and is not woken for a stranger.
        let awake = self.connections.awake_mut(index).map(|entry| &entry.connection);
        let about_us = awake.filter(|connection| connection.is_in_flight(error.quote.seq));
        let connection = about_us.ok_or(DropReason::UnmatchedIcmp)?;
        match error.kind {
            ErrorKind::TooBig { mtu } => {
                let (remote, interface) = (connection.tuple().remote.address, connection.link().interface);
                let mtu = believed_mtu(remote, error.quote.packet_len, mtu)?;
                let until = now + self.config.tcp.path_mtu_lifetime;
                self.touch(now, index, |connection, cx| connection.limit_path(cx, mtu, until)).transpose()?;
                self.interfaces[interface].path_mtus.insert(remote, mtu, until);
                self.stats.path_mtus_lowered += 1;
            }
            ErrorKind::Unreachable(kind) if kind.is_hard() && connection.is_opening() => {
                self.touch(now, index, |connection, _| connection.fail(CloseReason::Refused, Cause::RefusedByIcmp));
            }
            ErrorKind::Unreachable(kind) => self.report_soft_error(now, index, SoftError::Unreachable { kind }),
            ErrorKind::TimeExceeded => self.report_soft_error(now, index, SoftError::TimeExceeded),
            ErrorKind::ParameterProblem => self.report_soft_error(now, index, SoftError::ParameterProblem),
        }
        self.stats.icmp_errors_accepted += 1;
        Ok(())
    }

    /// SYN-RECEIVED is not synchronized, and no application knows of it yet: a hard error ends the handshake (SHLD-26), others
    /// are forgotten. Who can quote the SYN-ACK's number has seen it; and if the client lives, the cookie lets it in all the same.
    fn icmp_error_at_half_open(&mut self, index: u32, error: &IcmpError) -> Result<(), DropReason> {
        let entry = self.half_open.get(index);
        if error.quote.seq != entry.handshake.iss {
            return Err(DropReason::UnmatchedIcmp);
        }
        if matches!(error.kind, ErrorKind::Unreachable(kind) if kind.is_hard()) {
            self.forget_half_open(index, entry.hash);
            self.stats.handshakes_refused += 1;
        }
        self.stats.icmp_errors_accepted += 1;
        Ok(())
    }
}
