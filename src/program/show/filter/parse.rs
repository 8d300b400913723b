//! A filter, read word by word.

use super::{
    super::{Field, List, row::Kind},
    BadFilter, Comparison, Node, words,
};
use crate::{stack::Cidr, time::span};
use std::net::{IpAddr, SocketAddr};

/// Parentheses, and `not`s, within each other at most.
const DEPTH: usize = 32;
/// Comparisons in a filter at most: each is made for every row.
const MOST: usize = 256;

/// Comparisons as they are typed.
const COMPARISONS: [(&str, Comparison); 13] = [
    ("=", Comparison::Equal),
    ("==", Comparison::Equal),
    ("eq", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("ne", Comparison::Unequal),
    ("<", Comparison::Less),
    ("lt", Comparison::Less),
    ("<=", Comparison::AtMost),
    ("le", Comparison::AtMost),
    (">", Comparison::Greater),
    ("gt", Comparison::Greater),
    (">=", Comparison::AtLeast),
    ("ge", Comparison::AtLeast),
];

/// Words, parentheses and comparisons, one after the other.
fn split(text: &str) -> Vec<&str> {
    let class = |c: char| match c {
        '(' | ')' => 0,
        '<' | '>' | '=' | '!' | '&' | '|' => 1,
        c if c.is_whitespace() => 2,
        _ => 3,
    };
    let (mut words, mut begin) = (Vec::new(), 0);
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map_or(4, |&(_, next)| class(next));
        if next != class(letter) || next == 0 {
            let end = at + letter.len_utf8();
            if class(letter) != 2 {
                words.push(&text[begin..end]);
            }
            begin = end;
        }
    }
    words
}

struct Words<'a> {
    list: List,
    words: Vec<&'a str>,
    at: usize,
    depth: usize,
    made: usize,
}

pub(super) fn parse(list: List, text: &str) -> Result<Node, BadFilter> {
    let mut words = Words { list, words: split(text), at: 0, depth: 0, made: 0 };
    if words.words.is_empty() {
        return Ok(Node::All(Vec::new()));
    }
    let node = words.any()?;
    match words.peek() {
        None => Ok(node),
        Some(")") => Err(words.bad("there is no `(` that it ends: leave it out")),
        Some(_) => Err(words.unknown()),
    }
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek();
        self.at += usize::from(word.is_some());
        word
    }

    fn takes(&mut self, meant: &[&str]) -> bool {
        let is_it = self.peek().is_some_and(|word| meant.contains(&word));
        self.at += usize::from(is_it);
        is_it
    }

    /// The word that is next is not understood.
    fn bad(&self, why: impl Into<String>) -> BadFilter {
        BadFilter { word: self.peek().map(str::to_owned), place: self.at + 1, why: why.into() }
    }

    fn unknown(&self) -> BadFilter {
        let names: Vec<_> = Field::of(self.list).iter().map(|field| field.name()).collect();
        let word = self.peek().unwrap_or_default();
        let others = Field::ALL.iter().map(|(_, name, _)| *name);
        if others.clone().any(|name| name == word) {
            return self.bad(format!("{} have no such thing, but {}", self.list, words::one_of(&names)));
        }
        let joining = ["and", "or", "not"];
        self.bad(match words::nearest(word, names.iter().copied().chain(joining)) {
            Some(near) if !word.is_empty() => format!("`{near}` may be meant"),
            _ => format!("{} are asked for {}", self.list, words::one_of(&names)),
        })
    }

    fn any(&mut self) -> Result<Node, BadFilter> {
        let mut nodes = vec![self.all()?];
        while self.takes(&["or", "||", "|"]) {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self) -> Result<Node, BadFilter> {
        let mut nodes = vec![self.one()?];
        // What stands beside each other must hold together, as with `ss`.
        while self.takes(&["and", "&&", "&"]) || self.peek().is_some_and(|word| !["or", "||", "|", ")"].contains(&word))
        {
            nodes.push(self.one()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn one(&mut self) -> Result<Node, BadFilter> {
        if self.depth >= DEPTH {
            return Err(self.bad(format!("more than {DEPTH} parentheses within each other are not read: use fewer")));
        }
        if self.takes(&["not", "!"]) {
            self.depth += 1;
            let node = self.one()?;
            self.depth -= 1;
            return Ok(Node::Not(Box::new(node)));
        }
        if self.takes(&["("]) {
            self.depth += 1;
            let node = self.any()?;
            self.depth -= 1;
            return if self.takes(&[")"]) { Ok(node) } else { Err(self.bad("a `)` is missing")) };
        }
        self.made += 1;
        if self.made > MOST {
            return Err(self.bad(format!("more than {MOST} comparisons are not made: use fewer")));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Node, BadFilter> {
        let Some(name) = self.peek() else {
            let names: Vec<_> = Field::of(self.list).iter().map(|field| field.name()).collect();
            return Err(self.bad(format!("{} can be asked for", words::one_of(&names))));
        };
        let Some(field) = Field::named(name).filter(|field| Field::of(self.list).contains(field)) else {
            return Err(self.unknown());
        };
        self.at += 1;
        match field.kind() {
            Kind::Word => self.word(field),
            Kind::Address => self.address(field),
            Kind::Port => {
                let comparison = self.how();
                let port = self.value("a port is to stand there, such as :80", |word| {
                    word.strip_prefix(':').unwrap_or(word).parse().ok()
                })?;
                Ok(Node::Port(field, comparison, port))
            }
            Kind::Number => {
                let comparison = self.how();
                let number = self.value("a number is to stand there, such as 100", number)?;
                Ok(Node::Number(field, comparison, number))
            }
            Kind::Time => {
                let comparison = self.how();
                let micros = self.value("a time is to stand there, such as 10ms or 5s", |word| {
                    span::parse(word).map(|time| time.as_micros() as f64)
                })?;
                Ok(Node::Number(field, comparison, micros))
            }
        }
    }

    /// How it is compared: for equality, where nothing is said.
    fn how(&mut self) -> Comparison {
        let how = self.peek().and_then(|word| COMPARISONS.iter().find(|(name, _)| *name == word));
        how.map_or(Comparison::Equal, |&(_, comparison)| {
            self.at += 1;
            comparison
        })
    }

    fn value<T>(&mut self, wanted: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, BadFilter> {
        let value = self.peek().and_then(read).ok_or_else(|| self.bad(wanted))?;
        self.at += 1;
        Ok(value)
    }

    /// One word, or several with commas between them.
    fn word(&mut self, field: Field) -> Result<Node, BadFilter> {
        let negated = match self.how() {
            Comparison::Equal => false,
            Comparison::Unequal => true,
            _ => {
                self.at -= 1;
                return Err(self.bad("words are equal or not: write = or !="));
            }
        };
        let Some(said) = self.peek() else {
            return Err(self.bad(format!("a word is missing behind `{}`", field.name())));
        };
        let mut meant = Vec::new();
        for word in said.split(',') {
            meant.extend(words::meant(self.list, field, word).map_err(|why| self.bad(why))?);
        }
        self.next();
        let node = Node::Word(field, meant);
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn address(&mut self, field: Field) -> Result<Node, BadFilter> {
        let negated = match self.how() {
            Comparison::Equal => false,
            Comparison::Unequal => true,
            _ => {
                self.at -= 1;
                return Err(self.bad("addresses are equal or not: write = or !="));
            }
        };
        let wanted = "an address is to stand there, such as 198.18.0.1, 198.18.0.0/24, 198.18.0.1:80 or [2001:2::1]:80";
        let (block, port) = self.value(wanted, end)?;
        let node = Node::End(field, block, port);
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }
}

/// A number, of octets or of whatever else: `10k` and `2M` are of a thousand and a million.
fn number(word: &str) -> Option<f64> {
    let (digits, factor) = match word.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => word.strip_suffix('M').map_or((word, 1.0), |digits| (digits, 1e6)),
    };
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit() || digit == b'.');
    digits.parse::<f64>().ok().filter(|number| is_number && number.is_finite()).map(|number| number * factor)
}

/// A block of addresses, a port, or both.
fn end(word: &str) -> Option<(Option<Cidr>, Option<u16>)> {
    let block = |text: &str| -> Option<Cidr> {
        let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |length: &str| length.bytes().all(|digit| digit.is_ascii_digit());
        let prefix = match length {
            Some(length) => length.parse().ok().filter(|&bits| bits <= most && is_number(length))?,
            None => most,
        };
        Some(Cidr { address, prefix })
    };
    if let Some(block) = block(word) {
        return Some((Some(block), None));
    }
    if let Ok(end) = word.parse::<SocketAddr>() {
        return Some((block(&end.ip().to_string()), Some(end.port())));
    }
    let (address, port) = word.rsplit_once(':')?;
    let port = port.parse().ok()?;
    match address {
        "" | "*" => Some((None, Some(port))),
        address => Some((Some(block(address)?), Some(port))),
    }
}
