//! What the program `xskip` is made of, beside the stack: labs, load, floods, comparisons.
//!
//! | room | what |
//! | --- | --- |
//! | [`capture`] | frames to a file for Wireshark |
//! | [`bpf`] | the programs in the kernel of what follows |
//! | [`relay`] | what carries frames from one interface to another by way of a bad link |
//! | [`control`] | sockets by which what runs is spoken to |
//! | [`flood`] | what attacks a server in a lab |
//! | [`load`] | a load generator: the stack as a client of many connections |
//! | [`lb_file`] | the load balancer's configuration file |
//! | [`backend`] | what takes tunnels off at a load balancer's backends |
//! | [`top`] | what a server does, live on a terminal |
//! | [`lb_run`] | the load balancer at work: by its file, and by what is said to it |
//! | [`show`] | what runs, shown: what is asked and answered by a control socket |
//! | [`lab`], [`doctor`], [`demo`] | namespaces to try things in, a check-up, and a demonstration |
//! | [`mod@bench`] | the stack beside others, under the same load, with a report |
//!
//! The stack itself is the crate [`xskip`]; its rooms are here, too.
#![deny(missing_docs, unsafe_code)]

// The errors of this crate, too, say their sentence where `main` returns them.
#[macro_use(debug_as_display)]
extern crate xskip;

pub mod backend;
pub mod bench;
#[allow(unsafe_code)] // the generated skeletons
pub mod bpf;
pub mod capture;
pub mod control;
pub mod demo;
pub mod doctor;
pub mod flood;
pub mod lab;
pub mod lb_file;
pub mod lb_run;
pub mod load;
mod prefix;
pub mod relay;
pub mod show;
pub mod top;

#[doc(no_inline)]
pub use xskip::*;
