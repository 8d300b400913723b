//! What is answered, and how it is written (RFC 9112 §4).

use super::{
    MAX_RESPONSE, MAX_SKIPPED, Then,
    pattern::Pattern,
    request::{Method, Refusal, Request, RequestBody, Target},
};
use std::io::{Cursor, Write};

const INDEX: &str = "xskip: a TCP/IP stack in user space, on AF_XDP.\n\
    The kernel has not seen the connection that brought you this page.\n\
    Try /bytes/N for N octets.\n";

/// A response, before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    content: Content,
    /// Whether the content itself is left out: for HEAD.
    head_only: bool,
    then: Then,
    /// Whether a client of HTTP/1.0 must be told that the connection stays.
    says_keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Text(&'static str),
    Bytes(u64),
}

impl Answer {
    /// The answer to a request.
    pub fn to(request: &Request) -> Self {
        let (status, content) = match (request.method, request.target) {
            (Method::Unknown, _) => (501, Content::Text(reason(501))),
            (Method::Known, _) => (405, Content::Text(reason(405))),
            (_, Target::Index) => (200, Content::Text(INDEX)),
            (_, Target::Bytes(length)) => (200, Content::Bytes(length)),
            (_, Target::NotFound) => (404, Content::Text(reason(404))),
        };
        let then = match request.body {
            RequestBody::Length(skip) if request.keep_alive && skip <= MAX_SKIPPED => Then::Next { skip },
            _ => Then::Close,
        };
        let says_keep_alive = request.is_1_0 && then != Then::Close;
        Self { status, content, head_only: request.method == Method::Head, then, says_keep_alive }
    }

    /// The answer to what is no request.
    pub fn refusal(Refusal { status, head_only }: Refusal) -> Self {
        let content = Content::Text(reason(status));
        Self { status, content, head_only, then: Then::Close, says_keep_alive: false }
    }

    /// A body that is made as it is sent.
    pub fn body(&self) -> Option<Pattern> {
        match self.content {
            Content::Bytes(length) if !self.head_only => Some(Pattern::new(length)),
            _ => None,
        }
    }

    /// This response, as the last one of its connection, which closes behind it.
    pub fn last(self) -> Self {
        Self { then: Then::Close, says_keep_alive: false, ..self }
    }

    /// What follows.
    pub fn then(&self) -> Then {
        self.then
    }
}

/// A response as octets: the head, and a short content with it, so that both leave in one segment.
pub(super) struct Head {
    octets: Cursor<[u8; MAX_RESPONSE]>,
}

impl Head {
    pub fn of(answer: &Answer) -> Self {
        let mut head = Self { octets: Cursor::new([0; MAX_RESPONSE]) };
        // The longest answer is far shorter than the room; a test writes each of them.
        let written = head.write(answer);
        debug_assert!(written.is_ok(), "there is room for any head");
        head
    }

    fn write(&mut self, answer: &Answer) -> std::io::Result<()> {
        let (kind, length) = match answer.content {
            Content::Text(text) => ("text/plain; charset=utf-8", text.len() as u64),
            Content::Bytes(length) => ("application/octet-stream", length),
        };
        let out = &mut self.octets;
        let (mut status_digits, mut length_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (status, length) = (status_digits.format(answer.status), length_digits.format(length));
        let status_line = ["HTTP/1.1 ", status, " ", reason(answer.status).trim_ascii_end(), "\r\n"];
        let fields = ["Server: xskip\r\nContent-Type: ", kind, "\r\nContent-Length: ", length, "\r\n"];
        for part in status_line.into_iter().chain(fields) {
            out.write_all(part.as_bytes())?;
        }
        if answer.status == 405 {
            out.write_all(b"Allow: GET, HEAD\r\n")?;
        }
        match answer.then {
            Then::Close => out.write_all(b"Connection: close\r\n")?,
            Then::Next { .. } if answer.says_keep_alive => out.write_all(b"Connection: keep-alive\r\n")?,
            Then::Next { .. } => {}
        }
        out.write_all(b"\r\n")?;
        match answer.content {
            Content::Text(text) if !answer.head_only => out.write_all(text.as_bytes()),
            _ => Ok(()),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.octets.get_ref()[..self.octets.position() as usize]
    }
}

/// The reason phrase, and content, that goes with a status.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK\n",
        404 => "Not Found\n",
        405 => "Method Not Allowed\n",
        408 => "Request Timeout\n",
        414 => "URI Too Long\n",
        431 => "Request Header Fields Too Large\n",
        501 => "Not Implemented\n",
        505 => "HTTP Version Not Supported\n",
        _ => "Bad Request\n",
    }
}
