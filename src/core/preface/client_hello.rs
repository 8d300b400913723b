//! The server's name in a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), across records (RFC 8446 §5.1) and TCP segments.
//!
//! Written here because `tls-parser` wants a whole message in one slice and rustls' `Acceptor` a buffer of its own for each connection,
//! neither says how much more is needed, and what is needed of TLS is a walk over a few lengths.
//!
//! ```text
//!   record   22, 3.x, length │ handshake   1, length of 24 bits │ version, random, session, suites, compression │ extensions
//!   ───────── 5 ─────────────┘             ───────── 4 ─────────┘ the message goes on in the next record          └ server_name
//! ```
//!
//! No TLS is ended and nothing is decided about it: versions, suites and extensions that nobody knows (GREASE, RFC 8701) are walked
//! over. Of an encrypted ClientHello the outer name is seen, as it is meant to be.

use super::{
    pieces::Pieces,
    server_name::{NotName, ServerName},
};
use crate::drops::named;

/// Octets of the longest hello that is read, with the headers of its records: no more ever have to be kept for one.
pub const MAX_HELLO: usize = 16 * 1024;

/// The most records a hello is read from. Real clients need one; one that fills records of 512 octets, the least that TLS lets an end
/// ask for (RFC 6066 §4), needs 32 for the longest hello. Twice that, and what a peer can have us do by cutting octet by octet
/// stays small: records have to be walked over at each look.
pub const MAX_RECORDS: usize = 64;

/// Octets of the longest record (RFC 8446 §5.1).
const MAX_RECORD: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
const TLS_MAJOR: u8 = 3;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
const VERSION_AND_RANDOM: usize = 2 + 32;
const MAX_SESSION: usize = 32;
const SERVER_NAME: usize = 0;
const HOST_NAME: u8 = 0;
const MAX_HOST_NAME: usize = 255;

/// What there is at the beginning of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is looked at once, and a box would be an allocation a connection")]
pub enum Hello {
    /// More octets are needed.
    Partly {
        /// Do not ask again with fewer than this many in all; at most [`MAX_HELLO`].
        needed: usize,
    },
    /// A ClientHello for the server of this name.
    Named(ServerName),
    /// A whole ClientHello that names no server.
    Unnamed,
    /// Not a ClientHello that can be read, and why.
    Not(NotHello),
}

named! {
    /// Why octets are no ClientHello that can be read.
    NotHello {
        /// No TLS: what comes first is no handshake record, such as HTTP, or a hello of SSL 2.
        NotTls => "not_tls",
        /// TLS, but what comes first is another handshake message.
        OtherMessage => "other_message",
        /// The message is cut through by a record of another type, which RFC 8446 §5.1 forbids.
        Interrupted => "interrupted",
        /// A record without content, which RFC 8446 §5.1 forbids for handshake messages.
        EmptyRecord => "empty_record",
        /// More than [`MAX_RECORDS`].
        TooManyRecords => "too_many_records",
        /// Longer than [`MAX_HELLO`], or in a record longer than a record may be.
        TooLong => "too_long",
        /// Lengths that contradict each other.
        Malformed => "malformed",
        /// Several host names where RFC 6066 §3 allows for one, or two lists of names.
        SeveralNames => "several_names",
        /// The name is an IP address, which RFC 6066 §3 forbids.
        Address => "address",
        /// The name is none of the DNS.
        NotDns => "not_dns",
    }
}

impl From<NotName> for NotHello {
    fn from(why: NotName) -> Self {
        match why {
            NotName::Address => Self::Address,
            NotName::NotDns => Self::NotDns,
        }
    }
}

/// Reads what has arrived from its beginning. What follows a hello is not looked at.
pub fn client_hello(pieces: [&[u8]; 2]) -> Hello {
    match find(Pieces(pieces)) {
        Err(why) => Hello::Not(why),
        Ok(Found::Partly(needed)) => Hello::Partly { needed },
        Ok(Found::Whole(message)) => match server_name(message) {
            Ok(Some(name)) => Hello::Named(name),
            Ok(None) => Hello::Unnamed,
            Err(why) => Hello::Not(why),
        },
    }
}

enum Found<'a> {
    Partly(usize),
    /// The message behind its header.
    Whole(Part<'a>),
}

/// Follows the message from record to record to its end.
///
/// Where it goes on beyond the records that have begun, it takes the header of another one at least: so much is needed, and what is
/// missing shrinks by a sixth or more from one look to the next, however small the records: nobody can cause more than about 20 looks.
fn find(pieces: Pieces<'_>) -> Result<Found<'_>, NotHello> {
    let mut at = 0;
    let mut header = MessageHeader::default();
    // Octets of the message that are still to come, as far as is known.
    let mut left = MESSAGE_HEADER;
    let mut body = None;
    for _ in 0..MAX_RECORDS {
        let Some(length) = record(pieces, at)? else {
            // Whether it is TLS shows early: nobody need wait for all that a hello takes at least.
            let needed = match pieces.len() {
                0 => 1,
                1..RECORD_HEADER => RECORD_HEADER,
                _ => at + RECORD_HEADER + left,
            };
            return Ok(Found::Partly(needed));
        };
        let mut from = at + RECORD_HEADER;
        let end = from + length;
        if body.is_none() {
            from += header.read(pieces, from, end)?;
            left = header.left();
            body = header.is_whole().then_some(Part { pieces, at: from, record_end: end, left });
        }
        let here = left.min(end - from);
        let needed = if here == left { from + left } else { end + RECORD_HEADER + left - here };
        if needed > MAX_HELLO {
            return Err(NotHello::TooLong);
        }
        // It ends in this record, or its header goes on where nothing has arrived.
        if here == left || (body.is_none() && from < end) {
            return Ok(match body {
                Some(message) if needed <= pieces.len() => Found::Whole(message),
                _ => Found::Partly(needed),
            });
        }
        left -= here;
        at = end;
    }
    Err(NotHello::TooManyRecords)
}

/// The length of the record at `at`, as soon as its header is there; a wrong octet shows before.
fn record(pieces: Pieces<'_>, at: usize) -> Result<Option<usize>, NotHello> {
    let is_other = |at: usize, octet: u8| pieces.get(at).is_some_and(|found| found != octet);
    if is_other(at, HANDSHAKE) {
        return Err(if at == 0 { NotHello::NotTls } else { NotHello::Interrupted });
    }
    // What follows the 3 is to be ignored (RFC 8446 §5.1).
    if is_other(at + 1, TLS_MAJOR) {
        return Err(if at == 0 { NotHello::NotTls } else { NotHello::Malformed });
    }
    match pieces.u16(at + 3).map(usize::from) {
        Some(0) => Err(NotHello::EmptyRecord),
        Some(length) if length > MAX_RECORD => Err(NotHello::TooLong),
        length => Ok(length),
    }
}

/// The header of the message, which may be cut by records, too.
#[derive(Default)]
struct MessageHeader {
    octets: [u8; MESSAGE_HEADER],
    read: usize,
}

impl MessageHeader {
    /// Reads on in a record, and says how many octets that took.
    fn read(&mut self, pieces: Pieces<'_>, from: usize, end: usize) -> Result<usize, NotHello> {
        let wanted = (MESSAGE_HEADER - self.read).min(end - from);
        let length = pieces.copy(from, &mut self.octets[self.read..][..wanted]);
        self.read += length;
        if self.read > 0 && self.octets[0] != CLIENT_HELLO {
            return Err(NotHello::OtherMessage);
        }
        Ok(length)
    }

    fn is_whole(&self) -> bool {
        self.read == MESSAGE_HEADER
    }

    /// Of the message, or of this header while that is not whole.
    fn left(&self) -> usize {
        let [_, high, middle, low] = self.octets.map(usize::from);
        if self.is_whole() { high << 16 | middle << 8 | low } else { MESSAGE_HEADER - self.read }
    }
}

/// A part of a message whose records have all been found good.
#[derive(Clone, Copy)]
struct Part<'a> {
    pieces: Pieces<'a>,
    /// Where it goes on, in a record that ends at `record_end`.
    at: usize,
    record_end: usize,
    left: usize,
}

impl Part<'_> {
    /// Goes over to the next record where this one is at its end.
    fn turn(&mut self) -> Result<(), NotHello> {
        if self.at == self.record_end {
            let length = record(self.pieces, self.at)?.ok_or(NotHello::Malformed)?;
            self.at += RECORD_HEADER;
            self.record_end = self.at + length;
        }
        Ok(())
    }

    fn octet(&mut self) -> Result<u8, NotHello> {
        self.left = self.left.checked_sub(1).ok_or(NotHello::Malformed)?;
        self.turn()?;
        let octet = self.pieces.get(self.at).ok_or(NotHello::Malformed)?;
        self.at += 1;
        Ok(octet)
    }

    fn skip(&mut self, mut length: usize) -> Result<(), NotHello> {
        self.left = self.left.checked_sub(length).ok_or(NotHello::Malformed)?;
        while length > 0 {
            self.turn()?;
            let here = length.min(self.record_end - self.at);
            self.at += here;
            length -= here;
        }
        Ok(())
    }

    /// A number of so many octets.
    fn number(&mut self, octets: usize) -> Result<usize, NotHello> {
        (0..octets).try_fold(0, |number, _| Ok(number << 8 | usize::from(self.octet()?)))
    }

    /// What has its length in front, in so many octets (RFC 8446 §3.4).
    fn vector(&mut self, octets: usize) -> Result<Self, NotHello> {
        let left = self.number(octets)?;
        let inside = Self { left, ..*self };
        self.skip(left)?;
        Ok(inside)
    }
}

/// Walks over a ClientHello (RFC 8446 §4.1.2) to its server's name.
fn server_name(mut hello: Part<'_>) -> Result<Option<ServerName>, NotHello> {
    hello.skip(VERSION_AND_RANDOM)?;
    let session = hello.vector(1)?.left;
    let suites = hello.vector(2)?.left;
    let compressions = hello.vector(1)?.left;
    let are_wrong = session > MAX_SESSION || suites == 0 || suites % 2 == 1 || compressions == 0;
    // Before TLS 1.3 a hello may end here (RFC 5246 §7.4.1.2).
    if hello.left == 0 {
        return if are_wrong { Err(NotHello::Malformed) } else { Ok(None) };
    }
    let mut extensions = hello.vector(2)?;
    if are_wrong || hello.left > 0 {
        return Err(NotHello::Malformed);
    }
    let (mut lists, mut name) = (0, None);
    while extensions.left > 0 {
        let kind = extensions.number(2)?;
        let data = extensions.vector(2)?;
        if kind == SERVER_NAME {
            lists += 1;
            name = host_name(data)?;
        }
    }
    // No extension may come twice (RFC 8446 §4.2): who follows the last one and who follows the first would not agree.
    if lists > 1 { Err(NotHello::SeveralNames) } else { Ok(name) }
}

/// The one host name of a ServerNameList (RFC 6066 §3). Names of other types, of which there are none yet, have a length, too.
fn host_name(mut data: Part<'_>) -> Result<Option<ServerName>, NotHello> {
    let mut list = data.vector(2)?;
    if data.left > 0 || list.left == 0 {
        return Err(NotHello::Malformed);
    }
    let mut found = None;
    while list.left > 0 {
        let kind = list.octet()?;
        let name = list.vector(2)?;
        if kind == HOST_NAME && found.replace(name).is_some() {
            return Err(NotHello::SeveralNames);
        }
    }
    let Some(mut name) = found else { return Ok(None) };
    let mut octets = [0; MAX_HOST_NAME];
    let octets = octets.get_mut(..name.left).ok_or(NotHello::NotDns)?;
    for octet in octets.iter_mut() {
        *octet = name.octet()?;
    }
    Ok(Some(ServerName::new(octets)?))
}
