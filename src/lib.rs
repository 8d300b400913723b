//! `xskip`: a user-space TCP/IP stack on AF_XDP.
#![deny(unsafe_code)]
#![allow(missing_docs)]

pub mod app;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod drops;
pub mod host;
pub mod lab;
pub mod rng;
pub mod server;
pub mod stack;
pub mod stats;
pub mod tcp;
pub mod telemetry;
pub mod time;
pub mod wire;
pub mod worker;
#[allow(unsafe_code)]
pub mod xdp;

pub use self::{
    app::Service,
    server::{Server, ServerError},
    stack::{Cidr, Stream},
    tcp::CloseReason,
};
