//! As much of HTTP/1.1 as a page takes (RFC 9112): one request on a connection, and one answer.

use prometheus_client::{
    encoding::{prometheus_text, text},
    registry::Registry,
};
use std::time::SystemTime;

/// The longest head of a request.
pub const MOST: usize = 8_192;
/// Fields that it may have.
const FIELDS: usize = 64;

/// In which form the page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0, in text.
    OpenMetrics,
    /// What Prometheus had before, version 0.0.4.
    Plain,
}

impl Form {
    /// Writes what is registered in this form.
    pub(super) fn encode(self, registry: &Registry) -> String {
        let mut page = String::new();
        // A string takes whatever it is given.
        let written = match self {
            Self::OpenMetrics => text::encode(&mut page, registry),
            Self::Plain => prometheus_text::encode(&mut page, registry),
        };
        debug_assert!(written.is_ok());
        page
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// A request for the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// In which form.
    pub form: Form,
    /// Whether nobody wants the page itself.
    pub only_head: bool,
}

/// Where the head of a request ends: a lone line feed ends a line, too (RFC 9112 §2.2).
pub fn end(said: &[u8]) -> Option<usize> {
    let ends = said.iter().enumerate().filter(|&(_, &octet)| octet == b'\n');
    let after = |at: usize| said[at + 1..].strip_prefix(b"\r").unwrap_or(&said[at + 1..]);
    ends.map(|(at, _)| at).find(|&at| after(at).first() == Some(&b'\n')).map(|at| said.len() - after(at).len() + 1)
}

/// What is asked for, or the answer that refuses it.
pub fn read(head: &[u8]) -> Result<Asked, Vec<u8>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(refusal(431, "the request has too many fields")),
        Err(httparse::Error::Version) => return Err(refusal(505, "HTTP/1.1 is spoken here")),
        Ok(httparse::Status::Partial) | Err(_) => return Err(refusal(400, "that is no request of HTTP/1.1")),
    }
    if path(request.path.unwrap_or_default()) != "/metrics" {
        return Err(refusal(404, "there is nothing but /metrics"));
    }
    let only_head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(refusal(405, "/metrics can be read, by GET or HEAD, and nothing else")),
    };
    let accept = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("accept"));
    let accept: Vec<String> = accept.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect();
    Ok(Asked { form: form(&accept.join(",")), only_head })
}

/// The path of a target, without what is asked of it: by itself, or in a whole URI.
fn path(target: &str) -> &str {
    let without_scheme = target.split_once("://").map(|(_, rest)| rest);
    let target = match without_scheme {
        Some(rest) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

/// OpenMetrics, unless only the older one is wanted.
fn form(accept: &str) -> Form {
    let mut is_plain = false;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_unwanted = parts.filter_map(|it| it.split_once('=')).any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
        });
        match kind.as_str() {
            "application/openmetrics-text" | "application/*" | "*/*" if !is_unwanted => return Form::OpenMetrics,
            "text/plain" | "text/*" => is_plain |= !is_unwanted,
            _ => {}
        }
    }
    if is_plain { Form::Plain } else { Form::OpenMetrics }
}

/// The page, said.
pub fn answer(form: Form, only_head: bool, page: &str) -> Vec<u8> {
    let mut answer = head(200, "", form.content_type(), page.len());
    if !only_head {
        answer.extend_from_slice(page.as_bytes());
    }
    answer
}

/// An answer of a sentence.
pub fn refusal(status: u16, why: &str) -> Vec<u8> {
    let more = match status {
        405 => "Allow: GET, HEAD\r\n",
        503 => "Retry-After: 1\r\n",
        _ => "",
    };
    let mut answer = head(status, more, "text/plain; charset=utf-8", why.len() + 1);
    answer.extend_from_slice(why.as_bytes());
    answer.push(b'\n');
    answer
}

fn head(status: u16, more: &str, content_type: &str, length: usize) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    };
    let date = httpdate::fmt_http_date(SystemTime::now());
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Vary: Accept\r\n{more}Connection: close\r\n\r\n"
    );
    head.into_bytes()
}
