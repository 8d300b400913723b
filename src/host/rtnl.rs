//! Route netlink (rtnetlink(7)): links, addresses, routes and neighbours are listed and changed.

use super::{
    HostError,
    netlink::{Answer, Netlink},
};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::io;

/// How often a list is asked for that changes while the kernel writes it.
const ATTEMPTS: u32 = 8;

/// A route netlink socket in the network namespace of the thread that opened it. In the methods, `what` completes the sentence
/// "could not ...".
pub(super) struct Rtnl(Netlink);

impl Rtnl {
    pub(super) fn open() -> Result<Self, HostError> {
        Netlink::open(NETLINK_ROUTE, "open a route netlink socket").map(Self)
    }

    /// All that the kernel lists for a request, as far as `pick` takes it.
    pub(super) fn list<T>(
        &mut self,
        what: &str,
        request: RouteNetlinkMessage,
        pick: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, HostError> {
        let mut answer = Answer::default();
        for _ in 0..ATTEMPTS {
            answer = self.0.ask(what, request.clone(), NLM_F_DUMP)?;
            if !answer.is_interrupted {
                break;
            }
        }
        // Of an interface of a kind that is not known here, perhaps. Those that are can be worked with.
        if let Some(error) = &answer.unreadable {
            tracing::debug!("while asked to {what}, the kernel said something that is not understood: {error}");
        }
        Ok(answer.messages.into_iter().filter_map(pick).collect())
    }

    /// Asks for something that is not a list.
    pub(super) fn ask(
        &mut self,
        what: &str,
        request: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, HostError> {
        Ok(self.0.ask(what, request, NLM_F_ACK)?.messages)
    }

    /// Asks for many things that are no lists, each of which draws one message or a refusal.
    pub(super) fn ask_each(
        &mut self,
        what: &str,
        requests: Vec<RouteNetlinkMessage>,
    ) -> Result<Vec<io::Result<Option<RouteNetlinkMessage>>>, HostError> {
        self.0.ask_each(what, requests, 0)
    }

    /// Has many things changed, each of which may be refused. `flags` as below.
    pub(super) fn change_each(
        &mut self,
        what: &str,
        requests: Vec<RouteNetlinkMessage>,
        flags: u16,
    ) -> Result<Vec<io::Result<()>>, HostError> {
        let answers = self.0.ask_each(what, requests, NLM_F_ACK | flags)?;
        Ok(answers.into_iter().map(|answer| answer.map(drop)).collect())
    }

    /// Has something changed. `flags` say whether what is there already is kept, replaced, or an error.
    pub(super) fn change(&mut self, what: &str, request: RouteNetlinkMessage, flags: u16) -> Result<(), HostError> {
        self.0.ask(what, request, NLM_F_ACK | flags).map(drop)
    }
}
