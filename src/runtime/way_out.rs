//! Whether what the XDP program sends gets anywhere. On a veth that is for the peer to say: it takes what is redirected to it only
//! while it runs NAPI, and that of a container does not, unless somebody sees to it. The program answers SYNs itself only where
//! its answers arrive; where they do not, it hands SYNs to the workers, whose frames leave as packets of the kernel's and arrive.
//!
//! Nothing that anybody sends decides about it. Handshakes that end would prove the way, but a flood brings none, so that whoever
//! floods could keep the program out of work; and proofs by frames would be frames that strangers can forge or hold up. The
//! kernel knows, and is asked.

use super::{Cookies, Notice, Runtime, notice::Notices, plan::InterfacePlan};
use crate::{
    host::{Link, far_end::FarEnd, netdev::Netdev},
    xdp::{Guard, WayOut, XdpMode},
};
use std::sync::Arc;

/// The way that the program's own frames take.
pub(super) struct Way {
    guard: Arc<Guard>,
    link: Link,
    /// Who tells, where it may change.
    netdev: Option<Netdev>,
    /// Whether the program is to answer anything, sooner or later.
    matters: bool,
    notices: Notices,
}

impl Way {
    /// Finds it out, and tells the program.
    pub fn find(runtime: &Runtime, plan: &InterfacePlan, mode: XdpMode, guard: Arc<Guard>, notices: Notices) -> Self {
        let matters = !runtime.ports.is_empty() && matches!(runtime.cookies, Cookies::Auto | Cookies::Always);
        let link = plan.link.clone();
        let mut way = Self { guard, link, netdev: None, matters, notices };
        // In generic mode what the program sends is a packet of the kernel's, and in a driver XDP_TX is what every one of them can.
        if mode == XdpMode::Generic || !way.link.is_veth() {
            let verb = if way.link.is_veth() { WayOut::Redirect } else { WayOut::Transmit };
            way.guard.set_way_out(verb);
            return way;
        }
        way.netdev = Netdev::open().unwrap_or_else(|error| {
            tracing::debug!(%error);
            None
        });
        let told = way.ask();
        let far_end = if told == Some(true) { None } else { way.far_end() };
        way.take(arrives(told, far_end.as_ref()), told.is_some(), far_end.as_ref());
        way
    }

    /// Looks again, and says what is different. Whoever cannot be asked now can be later.
    pub fn look(&mut self) {
        if let Some(arrives) = self.ask().filter(|&arrives| arrives != self.guard.has_way_out()) {
            let far_end = if arrives { None } else { self.far_end() };
            self.take(arrives, true, far_end.as_ref());
        }
    }

    /// The peer, where it is to be found: there may be no right any more to look into another namespace.
    fn far_end(&self) -> Option<FarEnd> {
        FarEnd::find(&self.link).unwrap_or_else(|error| {
            tracing::debug!(%error);
            None
        })
    }

    /// What the kernel says.
    fn ask(&mut self) -> Option<bool> {
        let answer = self.netdev.as_mut()?.takes_redirects(&self.link);
        answer.map_err(|error| tracing::debug!(%error)).ok()
    }

    fn take(&mut self, arrives: bool, is_told: bool, far_end: Option<&FarEnd>) {
        let had = self.guard.has_way_out();
        self.guard.set_way_out(if arrives { WayOut::Redirect } else { WayOut::Nowhere });
        let interface = self.link.name.clone();
        match arrives {
            _ if !self.matters => {}
            true if had => {}
            true => self.notices.tell(Notice::AnswersArrive { interface }),
            false => {
                self.notices.tell(Notice::AnswersLost { interface, is_told, remedy: FarEnd::remedy(far_end) });
            }
        }
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("link", &self.link.name).finish_non_exhaustive()
    }
}

/// Whether frames arrive: as the kernel says, and where it does not, as the peer is found. Of a peer that nobody knows the least is
/// expected.
fn arrives(told: Option<bool>, far_end: Option<&FarEnd>) -> bool {
    told.or(far_end.map(FarEnd::runs_napi)).unwrap_or(false)
}

#[cfg(test)]
mod tests;
