//! HTTP responses as they arrive, in whatever pieces (RFC 9112): what was asked for is in whole, or it is a bad response.

use httparse::{ParserConfig, Status};
use std::mem::MaybeUninit;

/// The longest response head, octets, and the most fields in it.
const MAX_HEAD: usize = 16_384;
const MAX_FIELDS: usize = 64;

/// What was found at the front of a connection's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A head of 200.
    Head(Head),
    /// The beginning of one.
    Partial,
    /// Something else: another status, or nothing that HTTP knows. Transfer codings, which nobody asked for, are among it.
    Bad,
}

/// What the head of a response says of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Octets of the head itself.
    pub length: usize,
    /// Octets of the body; `None` where the end of the connection is its end (RFC 9112 §6.3).
    pub body: Option<u64>,
    /// Whether the server closes afterwards.
    pub closes: bool,
}

impl Parsed {
    /// Reads a head.
    pub fn of(octets: &[u8]) -> Self {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parser = ParserConfig::default();
        let length = match parser.parse_response_with_uninit_headers(&mut response, octets, &mut fields) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if octets.len() < MAX_HEAD => return Self::Partial,
            _ => return Self::Bad,
        };
        if response.code != Some(200) {
            return Self::Bad;
        }
        let (mut body, mut closes) = (None, response.version == Some(0));
        for field in response.headers {
            if field.name.eq_ignore_ascii_case("content-length") {
                // Two that agree are one; two that differ are an attack on whoever forwards them (RFC 9112 §6.3).
                match decimal(field.value) {
                    Some(length) if body.is_none_or(|before| before == length) => body = Some(length),
                    _ => return Self::Bad,
                }
            } else if field.name.eq_ignore_ascii_case("connection") {
                closes = (closes || names(field.value, "close")) && !names(field.value, "keep-alive");
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return Self::Bad;
            }
        }
        Self::Head(Head { length, body, closes: closes || body.is_none() })
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

/// Whether a list names this option.
fn names(list: &[u8], option: &str) -> bool {
    list.split(|&octet| octet == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}
