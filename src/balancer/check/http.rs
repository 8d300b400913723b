//! What is asked, and what the answer says (RFC 9112): of that the status alone counts.

use super::{Failure, Http};
use httparse::Status;
use std::net::SocketAddr;

/// The longest head of an answer, octets, and the most fields in it.
pub(super) const MAX_HEAD: usize = 16_384;
const MAX_FIELDS: usize = 128;

/// How much of a reason phrase is worth telling.
const MAX_REASON: usize = 80;

/// The port that need not be said (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

/// What is asked: once, because the backend is to close the connection and not we.
pub(super) fn request(http: &Http, address: SocketAddr) -> Vec<u8> {
    let host = match (&http.host, address) {
        (Some(host), _) => host.clone(),
        (None, SocketAddr::V6(v6)) if v6.port() == HTTP_PORT => format!("[{}]", v6.ip()),
        (None, SocketAddr::V4(v4)) if v4.port() == HTTP_PORT => v4.ip().to_string(),
        (None, _) => address.to_string(),
    };
    let path = &http.path;
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: xskip\r\nAccept: */*\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// What has been said so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Too little to tell.
    Partly,
    /// Something that is only on the way to an answer, in so many octets (RFC 9110 §15.2).
    Interim(usize),
    /// All that counts.
    Answer(Result<(), Failure>),
}

/// Reads what a backend has said, from its beginning or behind an interim answer.
pub(super) fn read(http: &Http, octets: &[u8]) -> Said {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(octets) {
        Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Status::Partial) if octets.len() < MAX_HEAD => return Said::Partly,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Said::Answer(Err(Failure::EndlessHead)),
        Err(_) => return Said::Answer(Err(Failure::NotHttp)),
    };
    let code = response.code.unwrap_or_default();
    match code {
        // 101 would leave HTTP, which nobody has asked for.
        100 | 102..=199 => Said::Interim(length),
        _ if http.expect.contains(&code) => Said::Answer(Ok(())),
        _ => Said::Answer(Err(Failure::Status { code, reason: printable(response.reason.unwrap_or_default()) })),
    }
}

/// A reason phrase as it may be shown: whoever wrote it may be anybody.
fn printable(reason: &str) -> String {
    let shown = reason.chars().take(MAX_REASON).map(|it| if it.is_control() { '\u{fffd}' } else { it });
    shown.collect::<String>().trim().to_owned()
}
