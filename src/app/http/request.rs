//! What a request asks for (RFC 9112 §3 to §7), as far as this server cares.

use super::MAX_HEAD;
use httparse::Status;
use std::mem::MaybeUninit;

/// Fields a request may have.
const MAX_FIELDS: usize = 64;

/// What a request is refused with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    /// Whether HEAD was asked for, which no content may answer (RFC 9110 §9.3.2).
    pub head_only: bool,
}

/// What became of the octets so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A request that can be answered.
    Whole(Request),
    /// The head goes on.
    Partial,
    /// No request that could be answered; the connection must close.
    Refused(Refusal),
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub method: Method,
    pub target: Target,
    /// Whether the connection stays open after the response, as far as the client is concerned (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether it is HTTP/1.0, which must be told that the connection stays open.
    pub is_1_0: bool,
    /// The body that follows.
    pub body: RequestBody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    /// One that HTTP has and this server has not.
    Known,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Index,
    Bytes(u64),
    NotFound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestBody {
    /// So many octets.
    Length(u64),
    /// One whose end is not known beforehand, or which the client holds back until it is asked for.
    Unbounded,
}

impl Request {
    /// Reads the request at the front of `octets`; with it the length of its head.
    pub fn parse(octets: &[u8]) -> (Parsed, usize) {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let within = &octets[..octets.len().min(MAX_HEAD)];
        let (outcome, length) = match request.parse_with_uninit_headers(within, &mut fields) {
            Ok(Status::Complete(length)) => (Self::understand(&request), length),
            Ok(Status::Partial) if within.len() == MAX_HEAD => {
                let in_request_line = !within.contains(&b'\n');
                (Err(if in_request_line { 414 } else { 431 }), within.len())
            }
            Ok(Status::Partial) => return (Parsed::Partial, 0),
            Err(error) => (Err(status_for(within, error)), octets.len()),
        };
        let head_only = request.method == Some("HEAD");
        let refused = |status| Parsed::Refused(Refusal { status, head_only });
        (outcome.map_or_else(refused, Parsed::Whole), length)
    }

    fn understand(request: &httparse::Request<'_, '_>) -> Result<Self, u16> {
        let is_1_0 = request.version == Some(0);
        let fields = Fields::read(request.headers)?;
        if !is_1_0 && fields.hosts != 1 || fields.hosts > 1 {
            return Err(400); // RFC 9112 §3.2
        }
        let body = match (fields.length, fields.is_chunked) {
            // Two framings at once are how requests are smuggled (RFC 9112 §6.1).
            (Some(_), true) => return Err(400),
            (None, true) => RequestBody::Unbounded,
            (Some(length), false) if length > 0 && fields.expects => RequestBody::Unbounded,
            (length, false) => RequestBody::Length(length.unwrap_or(0)),
        };
        Ok(Self {
            method: match request.method {
                Some("GET") => Method::Get,
                Some("HEAD") => Method::Head,
                Some("POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => Method::Known,
                _ => Method::Unknown,
            },
            target: Target::read(request.path.unwrap_or_default()),
            keep_alive: if is_1_0 { fields.says_keep_alive && !fields.says_close } else { !fields.says_close },
            is_1_0,
            body,
        })
    }
}

/// What a head that does not parse deserves.
fn status_for(octets: &[u8], error: httparse::Error) -> u16 {
    match error {
        httparse::Error::TooManyHeaders => 431,
        httparse::Error::Version => {
            // Another version of HTTP is one thing, garbage another.
            let line = octets.split(|&octet| octet == b'\n').next().unwrap_or_default();
            let version = line.rsplit(|&octet| octet == b' ').next().unwrap_or_default();
            if version.starts_with(b"HTTP/") { 505 } else { 400 }
        }
        _ => 400,
    }
}

impl Target {
    /// Origin form, or absolute form, which a server must accept too (RFC 9112 §3.2.2). A query changes nothing.
    fn read(target: &str) -> Self {
        // Nearly every target is a path, which needs no search for a scheme.
        let absolute = if target.starts_with('/') { None } else { target.split_once("://") };
        let path = match absolute {
            Some((scheme, rest)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
                let behind = rest.find(['/', '?', '#']).map(|end| &rest[end..]);
                // The path may be empty, which means the same as "/".
                behind.filter(|path| path.starts_with('/')).unwrap_or("/")
            }
            _ => target,
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        if path == "/" {
            return Self::Index;
        }
        let number = path.strip_prefix("/bytes/").filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        number.and_then(|digits| digits.parse().ok()).map_or(Self::NotFound, Self::Bytes)
    }
}

/// The fields that matter.
#[derive(Debug, Default)]
struct Fields {
    hosts: u32,
    length: Option<u64>,
    is_chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
    expects: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, u16> {
        let mut fields = Self::default();
        for header in headers {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("host") {
                if !may_be_host(value) {
                    return Err(400);
                }
                fields.hosts += 1;
            } else if header.name.eq_ignore_ascii_case("content-length") {
                fields.add_length(value)?;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                // One coding only, and only the one that every server knows (RFC 9112 §6.1).
                if fields.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(501);
                }
                fields.is_chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                for option in value.split(|&octet| octet == b',').map(<[u8]>::trim_ascii) {
                    fields.says_close |= option.eq_ignore_ascii_case(b"close");
                    fields.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if header.name.eq_ignore_ascii_case("expect") {
                fields.expects = true;
            }
        }
        Ok(fields)
    }

    /// RFC 9112 §6.3: a length is digits, and several must agree.
    fn add_length(&mut self, value: &[u8]) -> Result<(), u16> {
        let digits =
            std::str::from_utf8(value).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok()).ok_or(400u16)?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(400),
            _ => Ok(()),
        }
    }
}

/// Whether the octets are those of a host with or without a port (RFC 9110 §7.2). None at all are right where the target has
/// no authority.
fn may_be_host(value: &[u8]) -> bool {
    value.iter().all(|octet| {
        matches!(octet,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')'
            | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'[' | b']')
    })
}
