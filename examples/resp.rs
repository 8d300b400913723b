//! A key-value store that speaks Redis' protocol, in memory: `cargo run --example resp -- veth0 198.18.0.1/24`, then
//! `redis-cli -h 198.18.0.1` from the other end. Commands are parsed where they lie, and answered at once.

use std::{collections::HashMap, ops::Range};
use xskip::{ConnectionId, Context, Server, Service, Stream, app::Origin};

/// The longest command, octets.
const MAX_COMMAND: usize = 64 << 20;

/// The store of one worker: so one worker it is.
#[derive(Default)]
pub struct Store(HashMap<Vec<u8>, Vec<u8>>);

/// What a connection keeps.
#[derive(Default)]
pub struct Session {
    /// The beginning of a command that lies in two pieces, or has not come as a whole.
    partial: Vec<u8>,
    /// How long it is at least.
    wanted: usize,
    /// Answers that found no room.
    answers: Vec<u8>,
}

/// What is at the front of some bytes.
enum Parsed {
    /// A command of these words, and its length.
    Command(Vec<Range<usize>>, usize),
    /// It is at least so long.
    Wants(usize),
    Broken,
}

fn parse(data: &[u8]) -> Parsed {
    let line = |at: usize, kind: u8| -> Result<(usize, usize), Parsed> {
        let Some(end) = data[at..].windows(2).position(|pair| pair == b"\r\n").map(|end| at + end) else {
            return Err(if data.len() - at > 32 { Parsed::Broken } else { Parsed::Wants(data.len() + 1) });
        };
        let number = data[at..end].strip_prefix(&[kind]).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = number.and_then(|digits| digits.parse().ok()).filter(|&number| number < MAX_COMMAND);
        number.map(|number| (number, end + 2)).ok_or(Parsed::Broken)
    };
    let words = || -> Result<Parsed, Parsed> {
        let (count, mut at) = line(0, b'*')?;
        let mut words = Vec::new();
        for _ in 0..count {
            let (length, start) = line(at, b'$')?;
            at = start + length + 2;
            if at > data.len() {
                return Err(if at > MAX_COMMAND { Parsed::Broken } else { Parsed::Wants(at) });
            }
            words.push(start..start + length);
        }
        Ok(Parsed::Command(words, at))
    };
    words().unwrap_or_else(|other| other)
}

impl Store {
    /// Does what a command says, and writes the answer.
    fn execute(&mut self, data: &[u8], words: &[Range<usize>], mut answer: impl FnMut(&[u8])) {
        let words: Vec<&[u8]> = words.iter().map(|word| &data[word.clone()]).collect();
        match (words.first().map(|name| name.to_ascii_uppercase()).as_deref(), words.get(1..).unwrap_or_default()) {
            (Some(b"PING"), _) => answer(b"+PONG\r\n"),
            (Some(b"SET"), [key, value, ..]) => {
                self.0.insert(key.to_vec(), value.to_vec());
                answer(b"+OK\r\n");
            }
            (Some(b"GET"), [key]) => match self.0.get(*key) {
                Some(value) => {
                    answer(format!("${}\r\n", value.len()).as_bytes());
                    answer(value);
                    answer(b"\r\n");
                }
                None => answer(b"$-1\r\n"),
            },
            (Some(b"DEL"), keys) => {
                let removed = keys.iter().filter(|key| self.0.remove(**key).is_some()).count();
                answer(format!(":{removed}\r\n").as_bytes());
            }
            _ => answer(b"-ERR unknown command, or wrong number of arguments\r\n"),
        }
    }

    /// Executes what is at the front of what has come. Whether there may be more.
    fn step(&mut self, session: &mut Session, stream: &mut Stream<'_>) -> Result<bool, ()> {
        let ([first, second], mut writer) = stream.split();
        let in_place = session.partial.is_empty() && second.is_empty() && !first.is_empty();
        let data = if in_place { first } else { &session.partial };
        // A long value is looked at again only when it is there as a whole.
        let parsed = if data.len() < session.wanted { Parsed::Wants(session.wanted) } else { parse(data) };
        let taken = match parsed {
            Parsed::Command(words, length) => {
                let answers = &mut session.answers;
                self.execute(data, &words, |bytes| {
                    let written = if answers.is_empty() { writer.write(bytes) } else { 0 };
                    answers.extend_from_slice(&bytes[written..]);
                });
                session.wanted = 0;
                if !in_place {
                    session.partial.drain(..length);
                    return Ok(true);
                }
                length
            }
            Parsed::Wants(length) => {
                session.wanted = length;
                session.partial.extend_from_slice(first);
                session.partial.extend_from_slice(second);
                first.len() + second.len()
            }
            Parsed::Broken => return Err(()),
        };
        stream.consume(taken);
        Ok(taken > 0)
    }
}

impl Service for Store {
    type Session = Session;

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) -> Session {
        Session::default()
    }

    fn ready(&mut self, session: &mut Session, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        loop {
            let written = stream.write(&session.answers);
            session.answers.drain(..written);
            // Who does not read answers gets no more of them.
            if !session.answers.is_empty() {
                return;
            }
            match self.step(session, &mut stream) {
                Ok(true) => {}
                Ok(false) if stream.at_end() => return stream.close(),
                Ok(false) => return,
                Err(()) => {
                    stream.write(b"-ERR protocol error\r\n");
                    return stream.close_discarding();
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    Server::on(interface).queues([0]).address(address.parse()?).port(6379).run(Store::default)?;
    Ok(())
}
