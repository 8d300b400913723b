//! RSTs go out, and other segments that no connection sends (RFC 9293 §3.5.2, §3.10.7.1).

use super::{Stack, arrive::Received};
use crate::{
    drops::DropReason,
    tcp::timestamps::TimestampState,
    time::Instant,
    wire::{
        self, FourTuple, IpHeader, LinkHeader, SeqNumber, TcpFlags, TcpHeader, TcpOptions,
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
        Received { link, tuple, segment, .. }: Received<'_>,
        clocks: Option<TimestampState>,
    ) -> Result<(), DropReason> {
        self.admit_stray(now, tuple)?;
        let (flags, seq, ack) = if segment.has(TcpFlags::ACK) {
            (TcpFlags::RST, segment.header.ack, SeqNumber::default())
        } else {
            (TcpFlags::RST | TcpFlags::ACK, SeqNumber::default(), segment.header.seq.advance(segment.len()))
        };
        let timestamps = clocks.map(|clocks| clocks.option(now));
        self.send_reset(link, tuple, (self.config.tcp.dscp, timestamps), (flags, seq, ack))
    }

    /// RFC 7323 §3.2: an RST, too, should carry `timestamps` where they were agreed on.
    pub(super) fn send_reset(
        &mut self,
        link: &LinkHeader,
        tuple: &FourTuple,
        (dscp, timestamps): (Dscp, Option<Timestamps>),
        (flags, seq, ack): (TcpFlags, SeqNumber, SeqNumber),
    ) -> Result<(), DropReason> {
        // Many connections may be reset at once, and whoever wants a new one is to be answered meanwhile.
        if self.interfaces[link.interface].replies.is_crowded() {
            return Err(DropReason::ReplyQueueFull);
        }
        let (mut ip, mut tcp) = self.bare(tuple, flags, seq, ack);
        ip.traffic_class = dscp.with(Codepoint::NotCapable);
        // What acknowledges nothing echoes nothing.
        let echoes = flags.contains(TcpFlags::ACK);
        tcp.options.timestamps = timestamps.map(|ours| if echoes { ours } else { Timestamps { echo: 0, ..ours } });
        self.send_reply(link, &ip, &tcp)?;
        self.stats.resets_transmitted += 1;
        Ok(())
    }

    /// The headers of a segment without data or options.
    pub(super) fn bare(
        &self,
        tuple: &FourTuple,
        flags: TcpFlags,
        seq: SeqNumber,
        ack: SeqNumber,
    ) -> (IpHeader, TcpHeader) {
        let ip = self.config.tcp.ip_header(tuple, self.config.tcp.dscp.with(Codepoint::NotCapable));
        let (source_port, destination_port) = (tuple.local.port, tuple.remote.port);
        let options = TcpOptions::default();
        (ip, TcpHeader { source_port, destination_port, seq, ack, flags, window: 0, urgent: 0, options })
    }

    pub(super) fn send_reply(&mut self, link: &LinkHeader, ip: &IpHeader, tcp: &TcpHeader) -> Result<(), DropReason> {
        self.interfaces[link.interface].replies.push(wire::tcp_frame_len(link, ip, tcp), |buffer| {
            wire::write_tcp(link, ip, tcp, (&[], &[]), buffer);
        })
    }
}
