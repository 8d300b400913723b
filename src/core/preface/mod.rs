//! What is said first on a connection, before its protocol proper: whom a TLS client wants, and on whose behalf a proxy speaks.
//!
//! Each reader is given all that has arrived, in two pieces as a ring buffer has it, and consumes nothing. It answers, refuses, or
//! says how many octets there must be before it is worth asking again:
//!
//! ```
//! use xskip_core::preface::proxy_protocol::{self, About, Header};
//!
//! let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\nGET";
//! let Header::Partly { needed } = proxy_protocol::read([&line[..7], &[]]) else { panic!() };
//! assert!(needed > 7 && needed <= 45);
//! let Header::Read { length, about } = proxy_protocol::read([&line[..20], &line[20..]]) else { panic!() };
//! let source = "192.0.2.1:40000".parse()?;
//! let destination = "198.51.100.1:443".parse()?;
//! assert_eq!((length, about), (45, About::Proxied { source, destination }));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! With fewer octets than `needed` there is no answer, whichever they are; and an answer stays the same, and a refusal a refusal,
//! whatever arrives behind it. So a caller may wait, and a peer that sends an octet at a time costs a few dozen looks at most.
//!
//! There is no state here beyond values, no I/O, and no allocation.

pub mod client_hello;
mod crc32c;
mod pieces;
pub mod proxy_protocol;
pub mod server_name;
#[cfg(test)]
mod tests;

pub use self::{
    client_hello::{Hello, NotHello, client_hello},
    server_name::{NotName, ServerName},
};
