//! Connections that we open without a SYN: as if a balancer had answered it with a cookie, in the name of whom they lead to. Whoever
//! takes such handshakes over goes on with them; whoever does not has never heard of them.

use super::{ConnectError, ConnectionId, Stack, via::Via};
use crate::{
    tcp::{
        Cause,
        handshake::{Offer, default_mss},
    },
    time::Instant,
    wire::{Endpoint, FourTuple, TcpFlags, TcpHeader, TcpOptions, tcp_options::Timestamps},
};
use std::net::IpAddr;

/// What a SYN-ACK promises that was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The largest segment that the peer takes, octets.
    pub mss: u16,
    /// Its window, octets.
    pub window: u16,
    /// The scale of its windows from then on; `None` where none are scaled.
    pub window_scale: Option<u8>,
    /// Whether it understands SACK.
    pub sack: bool,
    /// Whether it has timestamps.
    pub timestamps: bool,
}

impl Stack {
    /// As [`Stack::connect_via`], but no SYN is sent: the connection is open at once, with the cookie that a server with our secret of
    /// cookies and this to promise would have answered. The first that its peer sees is what follows.
    ///
    /// # Errors
    /// As [`Stack::connect_via`].
    pub fn connect_answered(
        &mut self,
        now: Instant,
        remote: Endpoint,
        local: IpAddr,
        ports: &[u16],
        via: Via,
        answered: Answered,
    ) -> Result<ConnectionId, ConnectError> {
        let id = self.connect_via(now, remote, local, ports, via)?;
        let syn = self.touch_id(now, id, |connection, cx| connection.syn_to_send(cx)).flatten();
        let is_open = syn.and_then(|(tuple, syn)| {
            let answer = self.cookie_for(now, &tuple, &syn, answered);
            self.touch_id(now, id, |connection, cx| connection.take_answer(cx, answer))
        });
        // Or its SYN would be sent after all, and whoever answers that knows nothing of cookies.
        if is_open != Some(true) {
            self.touch_id(now, id, |connection, _| connection.abort_for(Cause::NotBegun));
            return Err(ConnectError::NoRoute(remote.address));
        }
        Ok(id)
    }

    fn cookie_for(&mut self, now: Instant, tuple: &FourTuple, syn: &TcpHeader, answered: Answered) -> TcpHeader {
        let client = tuple.local.address;
        let theirs = FourTuple { local: tuple.remote, remote: tuple.local };
        let offer = Offer::of_syn(&syn.options, false, default_mss(client));
        let offer = Offer {
            window_scale: offer.window_scale.filter(|_| answered.window_scale.is_some()),
            sack: offer.sack && answered.sack,
            timestamps: offer.timestamps && answered.timestamps,
            ..offer
        };
        let offer = offer.remembered(client).unwrap_or(offer);
        let cookie = self.cookies.make(now, &theirs, syn.seq, &offer);
        let echo = syn.options.timestamps.map_or(0, |ours| ours.value);
        TcpHeader {
            source_port: tuple.remote.port,
            destination_port: tuple.local.port,
            seq: cookie.iss,
            ack: syn.seq.advance(1),
            flags: TcpFlags::SYN | TcpFlags::ACK,
            window: answered.window,
            urgent: 0,
            options: TcpOptions {
                mss: Some(answered.mss),
                window_scale: offer.window_scale.and(answered.window_scale),
                sack_permitted: offer.sack,
                timestamps: cookie.timestamp.map(|value| Timestamps { value, echo }),
                ..TcpOptions::default()
            },
        }
    }
}
