//! Many connections on one queue.
//!
//! A [`Stack`] has five verbs: [`handle_frame`](Stack::handle_frame) and [`handle_timeout`](Stack::handle_timeout) take
//! things in, [`poll_event`](Stack::poll_event), [`poll_transmit`](Stack::poll_transmit) and
//! [`poll_timeout`](Stack::poll_timeout) let them out. It never looks at a clock, never blocks, and knows nothing of
//! AF_XDP: the same stack runs on a simulated wire.
//!
//! A flow has four sizes, and each is a type of its own: a handshake under way (`half_open`), a
//! [`Connection`](crate::tcp::Connection), one that sleeps ([`Dormant`](crate::tcp::Dormant)), and a TIME-WAIT entry
//! (`time_wait`). One [`FlowTable`] finds them all.

mod address;
mod aged_slab;
mod app_timers;
mod arrive;
mod assign;
mod complain;
mod connect;
mod connections;
mod defence;
mod event;
mod flow_table;
mod glimpse;
mod half_open;
mod intake;
mod interface;
mod lifecycle;
mod listen;
mod listeners;
mod memory;
mod neighbour;
mod next_hop;
mod path_mtu;
mod rate_limit;
mod replies;
mod reset;
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
mod syn_ack;
mod syn_received;
mod time_wait;
mod timer_wheel;
mod transmit;
mod trouble;
mod udp;
mod udp_socket;
mod used;

#[cfg(test)]
mod tests;

pub use self::{
    address::{Addresses, Cidr, CidrError, LocalAddress, Ownership},
    app_timers::TimerId,
    assign::{AddAddressError, InUse, RemoveAddressError},
    connect::ConnectError,
    defence::{FlowName, FlowWatch, SynMode},
    event::{ConnectionId, Event},
    flow_table::{Flow, FlowTable},
    glimpse::{Glimpse, Incoming},
    interface::TooManyInterfaces,
    listeners::{ListenError, ListenerId},
    secrets::Secrets,
    slab::Slab,
    splice::Spliced,
    stack::Stack,
    stream::Stream,
    syn_ack::SynAckProfile,
    timer_wheel::TimerWheel,
    trouble::SoftError,
    udp::{BindError, SendError, UdpId},
    udp_socket::Udp,
};

use self::secrets::FlowHash;
