//! Many connections on the interfaces of one worker.
//!
//! A [`Stack`] has five verbs: [`handle_frame`](Stack::handle_frame) and [`handle_timeout`](Stack::handle_timeout) take
//! things in, [`poll_event`](Stack::poll_event), [`poll_transmit`](Stack::poll_transmit) and
//! [`poll_timeout`](Stack::poll_timeout) let them out: its documentation says in which order. It knows nothing of AF_XDP: the tests
//! run it on a simulated wire.
//!
//! A flow has four sizes, and each is a type of its own: a handshake under way (`half_open`), a
//! [`Connection`](crate::tcp::Connection), one that sleeps ([`Dormant`](crate::tcp::Dormant)), and a TIME-WAIT entry
//! (`time_wait`). One [`FlowTable`] finds them all.

mod address;
mod aged_slab;
mod answered;
mod app_timers;
mod arrive;
mod assign;
mod connect;
mod connections;
mod defence;
mod drop_examples;
mod ends;
mod event;
mod flow_table;
mod glimpse;
mod half_open;
mod icmp_in;
mod icmp_out;
mod intake;
mod interface;
mod lifecycle;
mod listen;
mod listeners;
mod listing;
mod memory;
mod neighbour_cache;
mod pairs;
mod part;
mod path_mtu;
mod rate_limit;
mod replies;
mod reset;
mod responder;
mod route;
mod secrets;
mod silent;
mod slab;
mod splice;
#[expect(clippy::module_inception, reason = "the room is named after its main type")]
mod stack;
mod stalled;
mod stations;
mod strangers;
mod stream;
mod syn_ack_profile;
mod syn_received;
mod time_wait;
mod timer_wheel;
mod transmit;
mod udp;
mod udp_socket;
mod used;
mod via;

#[cfg(test)]
mod tests;

pub use self::{
    address::{Addresses, Cidr, CidrError, LocalAddress, Ownership},
    answered::Answered,
    app_timers::TimerId,
    assign::{AddAddressError, InUse, RemoveAddressError},
    connect::ConnectError,
    defence::{FlowFingerprint, FlowObserver, SynMode},
    drop_examples::DropExample,
    ends::Ended,
    event::{ConnectionId, Event},
    flow_table::{Flow, FlowTable},
    glimpse::{Glimpse, Incoming},
    icmp_in::SoftError,
    interface::TooManyInterfaces,
    listeners::{ListenError, ListenerId, Listening},
    listing::{Cursor, KnownFlow, Listed},
    neighbour_cache::{Neighbour, NeighbourState},
    secrets::Secrets,
    slab::Slab,
    splice::Spliced,
    stack::Stack,
    stream::Stream,
    syn_ack_profile::SynAckProfile,
    timer_wheel::TimerWheel,
    udp::{BindError, SendError, UdpId},
    udp_socket::Udp,
    via::Via,
};

use self::secrets::FlowHash;
