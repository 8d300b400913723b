//! Path MTU discovery (RFC 1191, RFC 8201): what the path takes is learned from routers that say a packet was too big for it,
//! and forgotten after a while, because only trying shows that a path has become wider (MUST-16, SHLD-6).

use super::{
    congestion::{Congestion, Controller},
    connection::Connection,
    cx::Cx,
    handshake::{MaxSegment, mss_for},
    recorder::Happening,
    timestamps,
};
use crate::{config::TcpConfig, drops::DropReason, time::Instant};
use std::net::IpAddr;

/// MTUs of old (RFC 1191 §7.1), for routers that say only that a packet was too big.
const PLATEAUS: [usize; 9] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296];
/// What we believe at the least of an IPv4 path. RFC 791 lets links take as little as 68 bytes, but none do that carry TCP today,
/// and a forger could make us send a header for each few octets (RFC 5927 §7.1): 552, as Linux does, bounds that.
const LEAST_V4: usize = 552;
/// The least that every link takes (RFC 791 §3.2): who claims less is wrong.
const LEAST_LINK_V4: usize = 68;
/// The least that every IPv6 link takes (RFC 8200 §5). A smaller claim is ignored (RFC 8201 §4).
const LEAST_V6: usize = 1_280;

/// The path MTU to `remote` after a router has said that a packet of `packet_len` bytes was too big for a link that takes
/// `claimed`.
///
/// # Errors
/// [`DropReason::ImplausibleMtu`] where that cannot be: the packet would have fitted (RFC 5927 §7.2), or no link takes so little.
pub fn believed_mtu(remote: IpAddr, packet_len: usize, claimed: u32) -> Result<usize, DropReason> {
    let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
    let (mtu, least_link, least) = match remote {
        IpAddr::V4(_) if claimed == 0 => {
            let plateau = PLATEAUS.into_iter().find(|&plateau| plateau < packet_len);
            (plateau.unwrap_or(LEAST_LINK_V4), LEAST_LINK_V4, LEAST_V4)
        }
        IpAddr::V4(_) => (claimed, LEAST_LINK_V4, LEAST_V4),
        IpAddr::V6(_) => (claimed, LEAST_V6, LEAST_V6),
    };
    if mtu < least_link || packet_len <= mtu {
        return Err(DropReason::ImplausibleMtu);
    }
    Ok(mtu.max(least))
}

/// How far the path holds the size of segments below what both ends could do.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathLimit {
    /// Eff.snd.MSS without it.
    pub full_mss: u32,
    /// When a larger segment is tried again.
    pub until: Option<Instant>,
}

impl Connection {
    /// Makes segments fit a path that takes packets of `mtu` bytes, until it is time to try larger ones again. What is in flight
    /// and too large is sent again in pieces, in slow start.
    ///
    /// # Errors
    /// [`DropReason::ImplausibleMtu`] where segments are no larger already: an ICMP message never makes them so.
    pub fn limit_path(&mut self, cx: Cx<'_>, mtu: usize, until: Instant) -> Result<(), DropReason> {
        let mss = self.mss_within(mtu);
        if mss >= self.send.mss() {
            return Err(DropReason::ImplausibleMtu);
        }
        self.recorder.note(cx.now, Happening::Smaller(mss));
        self.resize(mss, true, cx.config);
        self.path.until = Some(until);
        Ok(())
    }

    /// Makes segments fit a link of ours that takes packets of `mtu` bytes, for good: nobody would say when it does no more.
    /// Whether they might have been larger.
    pub fn fit_link(&mut self, mtu: usize, config: &TcpConfig) -> bool {
        let mss = self.mss_within(mtu);
        if mss >= self.path.full_mss {
            return false;
        }
        self.path.full_mss = mss;
        // A router may have asked for less already.
        if mss < self.send.mss() {
            self.resize(mss, true, config);
        }
        true
    }

    /// Limits the size of segments to what the application wants. A SYN of ours that is yet to be sent asks the peer for the same;
    /// later it counts for what we send from now on, and only where it makes segments smaller.
    pub fn set_max_segment(&mut self, limit: MaxSegment, config: &TcpConfig) {
        if self.offer_max_segment(limit) {
            return;
        }
        let mss = self.data_within(limit.of(u16::MAX));
        self.path.full_mss = self.path.full_mss.min(mss);
        if mss < self.send.mss() {
            self.resize(mss, false, config);
        }
    }

    /// The most data in a segment, where packets have `mtu` bytes.
    fn mss_within(&self, mtu: usize) -> u32 {
        self.data_within(mss_for(self.tuple.remote.address, mtu))
    }

    /// What an MSS leaves for data.
    pub(super) fn data_within(&self, mss: u16) -> u32 {
        let options = self.clocks.map_or(0, |_| timestamps::OPTION_LEN);
        u32::from(mss).saturating_sub(options).max(1)
    }

    /// What is in flight and larger did not fit, if `cut`.
    fn resize(&mut self, mss: u32, cut: bool, config: &TcpConfig) {
        let begins_with_one = self.congestion.window() == self.send.mss();
        let is_lost = cut && self.send.resegment(mss);
        if !cut {
            self.send.set_mss(mss);
        }
        if !self.send.has_ever_sent() {
            self.congestion = Congestion::new(config.congestion_control, mss);
            if begins_with_one {
                self.congestion.begin_with_one();
            }
        } else {
            self.congestion.resized(mss);
        }
        if is_lost {
            self.recovery.did_not_fit(&self.send, &mut self.congestion);
        }
    }

    /// Tries the full size again, when it is time.
    pub(super) fn lift_path_limit(&mut self, now: Instant) {
        if self.path.until.is_some_and(|until| until <= now) {
            self.path.until = None;
            self.recorder.note(now, Happening::Larger(self.path.full_mss));
            self.send.resegment(self.path.full_mss);
            self.congestion.resized(self.path.full_mss);
        }
    }
}
