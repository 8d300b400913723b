//! A load balancer: a role on the [runtime](crate::runtime) that forwards packets to backends in XDP, by the tables of [`crate::lb`].
//!
//! A [`LoadBalancer`] says on which interfaces and for which services. [`LoadBalancer::start`] takes the services' addresses, finds
//! out how backends are reached, and has the XDP programs forward. What is [`Balancing`] can be changed while packets flow: a
//! [`Plan`](crate::lb::Plan) says what a change will mean before it is applied.
//!
//! Workers get what backends do not: ARP, neighbour solicitations and echo requests for the services' addresses, and flows that are
//! to be reset. A thread of its own follows the ways to backends, hears of their health, and ends what is over.
//!
//! ```no_run
//! use std::{net::SocketAddr, sync::Arc};
//! use xskip::{LoadBalancer, lb::*, rng::SipKey, runtime::StopSignals};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let end = |text: &str| text.parse::<SocketAddr>();
//! let key = RowKey::new(SipKey::random()?); // a fleet's secret, the same on every balancer
//! let backends = [Backend::new("web-1", end("198.18.0.11:80")?), Backend::new("web-2", end("198.18.0.12:80")?)];
//! let maglev = Arc::new(Maglev::new(key.of_placement()));
//! let web = Service::tcp("web", end("198.18.0.80:80")?, maglev).with(backends);
//!
//! let signals = StopSignals::catch()?;
//! let balancing = LoadBalancer::on("veth0", key).start([web])?;
//! balancing.linger(signals);
//! println!("{}", balancing.status()?);
//! # Ok(())
//! # }
//! ```

mod application;
pub mod check;
mod checking;
mod control;
mod error;
mod estate;
mod fit;
mod follow;
mod hand_over;
mod nat;
mod proxying;
mod reach;
mod record;
mod role;
mod status;

pub use crate::host::bpf_fs::PINS;

pub use self::{
    error::BalancerError,
    estate::{Origin, Orphaned},
    nat::Nat,
    proxying::{Fate, Proxied},
    reach::NoReach,
    role::{Balancing, LoadBalancer},
    status::{BackendStatus, ProxiedService, ServiceStatus, Status},
};
