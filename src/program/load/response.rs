//! The heads of HTTP responses as they arrive, in whatever pieces (RFC 9112): what was asked for is in whole, or it is a bad response.

use httparse::{ParserConfig, Status};
use std::mem::MaybeUninit;

/// The longest response head, octets, and the most fields in it.
const MAX_HEAD: usize = 16_384;
const MAX_FIELDS: usize = 64;

/// What was found at the front of a connection's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The head of a response that says that all went well.
    Head(Head),
    /// An interim response of so many octets, which another one follows (RFC 9110 §15.2).
    Interim(usize),
    /// The beginning of one.
    Partial,
    /// Something else: another status, or nothing that HTTP knows. Transfer codings that nobody asked for are among it.
    Bad,
}

/// What the head of a response says of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Octets of the head itself.
    pub length: usize,
    /// How the end of the body is found.
    pub body: Body,
    /// Whether the server closes afterwards.
    pub closes: bool,
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// It has so many octets.
    Octets(u64),
    /// It comes in chunks, of which the last is empty.
    Chunks,
    /// It ends where the connection ends.
    Rest,
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
        let (status, is_old) = (response.code.unwrap_or_default(), response.version == Some(0));
        match status {
            // 101 would leave HTTP, which nobody has asked for.
            100 | 102..=199 => return Self::Interim(length),
            200..=299 | 304 => {}
            _ => return Self::Bad,
        }
        let (mut announced, mut is_chunked, mut closes) = (None, false, is_old);
        for field in response.headers {
            if field.name.eq_ignore_ascii_case("content-length") {
                // Two that agree are one; two that differ are an attack on whoever forwards them (RFC 9112 §6.3).
                match decimal(field.value) {
                    Some(length) if announced.is_none_or(|before| before == length) => announced = Some(length),
                    _ => return Self::Bad,
                }
            } else if field.name.eq_ignore_ascii_case("connection") {
                closes = (closes || names(field.value, "close")) && !names(field.value, "keep-alive");
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                // RFC 9112 §6.1: no coding is applied twice, and HTTP/1.0 has none; §7: of those that there are, we have asked for
                // none but this, which every recipient understands.
                if is_old || is_chunked || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Self::Bad;
                }
                is_chunked = true;
            }
        }
        let body = match (status, announced) {
            // Whatever their fields say of a body that there would be otherwise (RFC 9112 §6.3).
            (204 | 304, _) => Body::Octets(0),
            // RFC 9112 §6.3: both at once may be an attempt to smuggle, and ought to be handled as an error.
            (_, Some(_)) if is_chunked => return Self::Bad,
            _ if is_chunked => Body::Chunks,
            (_, Some(length)) => Body::Octets(length),
            (_, None) => Body::Rest,
        };
        Self::Head(Head { length, body, closes: closes || body == Body::Rest })
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
