//! RSTs go out, and other segments that no connection sends (RFC 9293 §3.5.2, §3.10.7.1).

use super::{Stack, arrive::Received};
use crate::{
    drops::DropReason,
    tcp::timestamps::TimestampState,
    time::Instant,
    wire::{
        self, FourTuple, IpHeader, LinkHeader, SeqNumber, TcpFlags, TcpHeader, TcpOptions, Tunnel,
        ip::{Codepoint, Dscp},
        tcp_options::Timestamps,
    },
};

impl Stack {
    /// Answers a stranger with an RST, and counts him, answered or not: how many there are decides who meets them.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        received: Received<'_>,
        reason: DropReason,
    ) -> Result<(), DropReason> {
        if let Err(unsaid) = self.reset(now, received, None) {
            self.drops.count(unsaid);
        }
        Err(reason)
    }

    /// The RST that a segment draws which belongs to no connection (§3.10.7.1), or to none that is open yet: then there may be
    /// clocks.
    pub(super) fn reset(
        &mut self,
        now: Instant,
        received: Received<'_>,
        clocks: Option<TimestampState>,
    ) -> Result<(), DropReason> {
        self.reset_in(None, now, received, clocks)
    }

    /// As [`Stack::reset`], where the connection's segments go into a tunnel.
    pub(super) fn reset_in(
        &mut self,
        tunnel: Option<Tunnel>,
        now: Instant,
        Received { link, tuple, segment, .. }: Received<'_>,
        clocks: Option<TimestampState>,
    ) -> Result<(), DropReason> {
        self.admit_stray(now, tuple)?;
        let (flags, seq, ack) = if segment.has(TcpFlags::ACK) {
            (TcpFlags::RST, segment.header.ack, SeqNumber::default())
        } else {
            (TcpFlags::RST | TcpFlags::ACK, SeqNumber::default(), segment.header.seq.advance(segment.len()))
        };
        let mut rst = bare(tuple, flags, seq, ack);
        rst.options.timestamps = clocks.map(|clocks| clocks.option(now));
        self.send_reset((link, tunnel), tuple, self.config.tcp.dscp, rst)
    }

    /// Sends an RST. RFC 7323 §3.2: it, too, should carry timestamps where they were agreed on.
    pub(super) fn send_reset(
        &mut self,
        (link, tunnel): (&LinkHeader, Option<Tunnel>),
        tuple: &FourTuple,
        dscp: Dscp,
        mut rst: TcpHeader,
    ) -> Result<(), DropReason> {
        // Many connections may be reset at once, and whoever wants a new one is to be answered meanwhile.
        if self.interfaces[link.interface].replies.is_crowded() {
            return Err(DropReason::ReplyQueueFull);
        }
        // What acknowledges nothing echoes nothing.
        if !rst.flags.contains(TcpFlags::ACK) {
            rst.options.timestamps = rst.options.timestamps.map(|ours| Timestamps { echo: 0, ..ours });
        }
        let ip = self.config.tcp.ip_header(tuple, dscp.with(Codepoint::NotCapable));
        self.send_reply_in(tunnel, link, &ip, &rst)?;
        self.stats.resets_transmitted += 1;
        Ok(())
    }

    pub(super) fn send_reply(&mut self, link: &LinkHeader, ip: &IpHeader, tcp: &TcpHeader) -> Result<(), DropReason> {
        self.interfaces[link.interface].replies.push(wire::tcp_frame_len(link, ip, tcp), |buffer| {
            wire::write_tcp(link, ip, tcp, (&[], &[]), buffer);
        })
    }

    /// As [`Stack::send_reply`], in a tunnel where there is one.
    pub(super) fn send_reply_in(
        &mut self,
        tunnel: Option<Tunnel>,
        link: &LinkHeader,
        ip: &IpHeader,
        tcp: &TcpHeader,
    ) -> Result<(), DropReason> {
        let Some(tunnel) = tunnel else { return self.send_reply(link, ip, tcp) };
        let length = wire::tcp_frame_len(link, ip, tcp) + tunnel.overhead();
        self.interfaces[link.interface].replies.push(length, |buffer| {
            let length = wire::write_tcp(link, ip, tcp, (&[], &[]), buffer);
            tunnel.wrap(link.len(), length, buffer);
        })
    }
}

/// The header of a segment without data or options.
pub(super) fn bare(tuple: &FourTuple, flags: TcpFlags, seq: SeqNumber, ack: SeqNumber) -> TcpHeader {
    let (source_port, destination_port) = (tuple.local.port, tuple.remote.port);
    TcpHeader { source_port, destination_port, seq, ack, flags, window: 0, urgent: 0, options: TcpOptions::default() }
}
