//! A key-value store that speaks Redis' protocol, in memory: `cargo run --features aio --example resp -- veth0 198.18.0.1/24`, then
//! `redis-cli -h 198.18.0.1` from the other end. Commands are read where they lie; whatever has come is carried out at once, and its answers
//! leave together, so a client may send many before it reads (pipelining).

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, Write},
    ops::Range,
    rc::Rc,
};
use tokio::io::AsyncReadExt;
use xskip::{
    Server,
    aio::{self, TcpListener, TcpStream},
};

/// The longest command, octets: as much is kept of what a connection has not said to its end.
const MAX_COMMAND: usize = 16 << 20;
/// Words of a command at most: those that have come are read again whenever more of it has.
const MAX_WORDS: usize = 1_024;
/// Octets of keys and values that are kept at most.
const MAX_STORED: usize = 1 << 30;
/// Octets that are asked for at a time, and of answers that are kept until they are sent, or a little more.
const PIECE: usize = 64 << 10;

/// The store of one worker: so one worker it is.
#[derive(Default)]
pub struct Store {
    values: HashMap<Vec<u8>, Vec<u8>>,
    octets: usize,
}

/// What is at the front of some octets.
enum Parsed {
    /// A command of this length, whose words are told beside.
    Command(usize),
    /// It is at least so long.
    Wants(usize),
    Broken,
}

/// A line such as `$3\r\n`: its number, and where the next one begins.
fn line(data: &[u8], at: usize, kind: u8) -> Result<(usize, usize), Parsed> {
    let Some(end) = data[at..].windows(2).take(32).position(|pair| pair == b"\r\n").map(|end| at + end) else {
        return Err(if data.len() - at > 32 { Parsed::Broken } else { Parsed::Wants(data.len() + 1) });
    };
    let number = data[at..end].strip_prefix(&[kind]).and_then(|digits| std::str::from_utf8(digits).ok());
    let number = number.and_then(|digits| digits.parse().ok()).filter(|&number| number < MAX_COMMAND);
    number.map(|number| (number, end + 2)).ok_or(Parsed::Broken)
}

/// Reads `*2\r\n$3\r\nGET\r\n$1\r\na\r\n`: how many words, and before each how long it is.
fn parse(data: &[u8], words: &mut Vec<Range<usize>>) -> Result<Parsed, Parsed> {
    words.clear();
    let (count, mut at) = line(data, 0, b'*')?;
    if count > MAX_WORDS {
        return Err(Parsed::Broken);
    }
    for _ in 0..count {
        let (length, start) = line(data, at, b'$')?;
        at = start + length + 2;
        if at > data.len() {
            return Err(if at > MAX_COMMAND { Parsed::Broken } else { Parsed::Wants(at) });
        }
        words.push(start..start + length);
    }
    Ok(Parsed::Command(at))
}

/// A number as an answer.
fn say(number: impl std::fmt::Display, answers: &mut Vec<u8>) {
    answers.write_fmt(format_args!(":{number}\r\n")).expect("memory takes all");
}

/// A word as an answer, or that there is none.
fn say_word(word: Option<&[u8]>, answers: &mut Vec<u8>) {
    let Some(word) = word else { return answers.extend_from_slice(b"$-1\r\n") };
    answers.write_fmt(format_args!("${}\r\n", word.len())).expect("memory takes all");
    answers.extend_from_slice(word);
    answers.extend_from_slice(b"\r\n");
}

impl Store {
    fn set(&mut self, key: &[u8], value: &[u8]) -> &'static [u8] {
        if self.octets + key.len() + value.len() > MAX_STORED {
            return b"-OOM the store is full; delete something first\r\n";
        }
        match self.values.get_mut(key) {
            Some(old) => {
                self.octets = self.octets + value.len() - old.len();
                value.clone_into(old);
            }
            None => {
                self.octets += key.len() + value.len();
                self.values.insert(key.to_vec(), value.to_vec());
            }
        }
        b"+OK\r\n"
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        let removed = self.values.remove(key);
        self.octets -= removed.as_ref().map_or(0, |value| key.len() + value.len());
        removed.is_some()
    }

    fn increment(&mut self, key: &[u8]) -> Option<i64> {
        let old = self.values.get(key).map_or(Some(0), |old| std::str::from_utf8(old).ok()?.parse::<i64>().ok());
        old?.checked_add(1)
    }

    /// Does what a command says, and writes the answer.
    fn execute(&mut self, words: &[&[u8]], answers: &mut Vec<u8>) {
        let name = words.first().map_or(Vec::new(), |name| name.to_ascii_uppercase());
        match (name.as_slice(), words.get(1..).unwrap_or_default()) {
            (b"PING", []) => answers.extend_from_slice(b"+PONG\r\n"),
            (b"PING", [word]) => say_word(Some(word), answers),
            (b"SET", [key, value]) => answers.extend_from_slice(self.set(key, value)),
            (b"GET", [key]) => say_word(self.values.get(*key).map(Vec::as_slice), answers),
            (b"DEL", keys @ [_, ..]) => say(keys.iter().filter(|key| self.delete(key)).count(), answers),
            (b"EXISTS", keys @ [_, ..]) => {
                say(keys.iter().filter(|key| self.values.contains_key(**key)).count(), answers);
            }
            (b"INCR", [key]) => match self.increment(key) {
                Some(number) => match self.set(key, number.to_string().as_bytes()) {
                    b"+OK\r\n" => say(number, answers),
                    full => answers.extend_from_slice(full),
                },
                None => answers.extend_from_slice(b"-ERR value is not an integer or out of range\r\n"),
            },
            _ => answers.extend_from_slice(b"-ERR unknown command, or wrong number of arguments\r\n"),
        }
    }
}

async fn converse(mut stream: TcpStream, store: Rc<RefCell<Store>>) -> io::Result<()> {
    let (mut input, mut answers, mut wanted, mut places) = (Vec::new(), Vec::new(), 1, Vec::new());
    loop {
        // A long value is looked at again only when it is there as a whole.
        while input.len() < wanted {
            input.reserve(PIECE);
            if stream.read_buf(&mut input).await? == 0 {
                return stream.shutdown();
            }
        }
        let mut at = 0;
        let broken = loop {
            let data = &input[at..];
            match parse(data, &mut places).unwrap_or_else(|other| other) {
                Parsed::Command(length) => {
                    let words: Vec<_> = places.iter().map(|place| &data[place.clone()]).collect();
                    store.borrow_mut().execute(&words, &mut answers);
                    at += length;
                    // Who does not read answers gets no more of them.
                    if answers.len() >= PIECE {
                        stream.write_all(&answers).await?;
                        answers.clear();
                    }
                }
                Parsed::Wants(length) => {
                    wanted = length;
                    break false;
                }
                Parsed::Broken => break true,
            }
        };
        input.drain(..at);
        // Long commands are rare; their memory is not kept for the next.
        input.shrink_to(PIECE);
        if broken {
            answers.extend_from_slice(b"-ERR protocol error\r\n");
        }
        stream.write_all(&answers).await?;
        answers.clear();
        if broken {
            stream.close_discarding();
            return Ok(());
        }
    }
}

/// Serves on the only worker.
pub async fn serve() -> io::Result<()> {
    let (listener, store) = (TcpListener::bind(6_379)?, Rc::<RefCell<Store>>::default());
    loop {
        let (stream, _) = listener.accept().await?;
        aio::spawn_local(converse(stream, store.clone()));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, interface, address] = <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>())
        .map_err(|_| "say an interface and an address of its own: veth0 198.18.0.1/24")?;
    Server::on(interface).queues([0]).address(address.parse()?).run_async(serve)?;
    Ok(())
}
