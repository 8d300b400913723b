//! Tables of the file, read key by key. What is wrong is noted, and reading goes on, so that all of it can be said at once.

use super::{
    fault::{Span, quoted},
    names::nearest,
};
use crate::time::span;
use std::{cell::RefCell, fmt, ops::RangeInclusive, time::Duration};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// What is wrong so far.
#[derive(Default)]
pub(super) struct Wrong(RefCell<Vec<(Span, String)>>);

impl Wrong {
    pub fn note(&self, at: Span, what: impl Into<String>) {
        self.0.borrow_mut().push((at, what.into()));
    }

    pub fn into_inner(self) -> Vec<(Span, String)> {
        self.0.into_inner()
    }
}

/// A kind of table, and the keys that it has.
pub(super) struct Kind {
    /// As it is written at its head; nothing for the file itself.
    pub head: &'static str,
    pub keys: &'static [&'static str],
}

pub(super) const FILE: Kind = Kind {
    head: "",
    keys: &[
        "interface",
        "interfaces",
        "generation",
        "row_key_file",
        "cookie_master_file",
        "metrics",
        "control",
        "survive",
        "pins",
        "nat",
        "proxy",
        "service",
    ],
};

pub(super) const SERVICE: Kind = Kind {
    head: "[[service]]",
    keys: &[
        "name",
        "address",
        "protocol",
        "mode",
        "syn_proxy",
        "placement",
        "rows",
        "when_all_down",
        "on_unhealthy",
        "unhealthy_drain",
        "fragments",
        "check",
        "proxy",
        "backend",
    ],
};

pub(super) const CHECK: Kind =
    Kind { head: "[service.check]", keys: &["kind", "path", "host", "port", "interval", "timeout", "rise", "fall"] };

pub(super) const BACKEND: Kind = Kind { head: "[[service.backend]]", keys: &["name", "address", "weight", "state"] };

pub(super) const NAT: Kind =
    Kind { head: "[nat]", keys: &["sources", "flows", "opening", "established", "closing", "datagrams"] };

pub(super) const PROXY: Kind = Kind { head: "[proxy]", keys: &["sources", "splices"] };

pub(super) const PROXIED: Kind = Kind {
    head: "[service.proxy]",
    keys: &[
        "server_names",
        "send_header",
        "accept_header_from",
        "source",
        "splice",
        "first_timeout",
        "connect_timeout",
        "idle_timeout",
    ],
};

pub(super) const KINDS: [&Kind; 7] = [&FILE, &SERVICE, &CHECK, &BACKEND, &NAT, &PROXY, &PROXIED];

impl Kind {
    /// The key that may be meant by one that it does not have.
    fn nearest(&self, key: &str) -> Option<&'static str> {
        nearest(key, self.keys.iter().copied())
    }

    /// What is said of a key that it does not have.
    fn unknown(&self, key: &str) -> String {
        let nearest = self.nearest(key);
        let home = KINDS.iter().find(|kind| kind.keys.contains(&key));
        let place = if self.head.is_empty() { "at the top of the file" } else { &format!("in {}", self.head) };
        let what = format!("unknown key {} {place}", quoted(key));
        match (nearest, home) {
            (_, Some(Kind { head: "", .. })) => format!("{what}: it belongs above the first [[service]]"),
            (_, Some(_)) if key == "backend" => format!("{what}: write {}", BACKEND.head),
            (_, Some(_)) if key == "check" => format!("{what}: write {}", CHECK.head),
            (_, Some(home)) => format!("{what}: it belongs into {}", home.head),
            (Some(nearest), None) => format!("{what}; did you mean `{nearest}`?"),
            (None, None) => format!("{what}: it has {}", self.keys.join(", ")),
        }
    }
}

/// What kind of value it is, in words.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Words with "or" before the last, each in quotes.
fn alternatives<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A table whose keys are read.
pub(super) struct Fields<'a> {
    table: &'a DeTable<'a>,
    /// Its head, or where it stands.
    pub at: Span,
    kind: &'static Kind,
    pub wrong: &'a Wrong,
}

impl<'a> Fields<'a> {
    /// Notes keys that such a table does not have.
    pub fn new(table: &'a DeTable<'a>, at: Span, kind: &'static Kind, wrong: &'a Wrong) -> Self {
        let fields = Self { table, at, kind, wrong };
        for key in table.keys().filter(|key| !fields.knows(key)) {
            wrong.note(key.span(), kind.unknown(key.get_ref()));
        }
        fields
    }

    pub fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.kind.keys.contains(&key));
        self.table.get(key)
    }

    /// Where the value of a key stands, or else the table.
    pub fn span(&self, key: &str) -> Span {
        self.get(key).map_or_else(|| self.at.clone(), Spanned::span)
    }

    /// Says that a key must be there; how, says an example.
    pub fn missing(&self, key: &str, remedy: &str) {
        let is_meant =
            |other: &Spanned<DeString<'_>>| !self.knows(other) && self.kind.nearest(other.get_ref()) == Some(key);
        // Where it is there, but for a slip, that was said.
        if self.get(key).is_none() && !self.table.keys().any(is_meant) {
            let whose = if self.kind.head.is_empty() { "the file" } else { self.kind.head };
            self.wrong.note(self.at.clone(), format!("{whose} has no `{key}`: {remedy}"));
        }
    }

    fn knows(&self, key: &Spanned<DeString<'_>>) -> bool {
        self.kind.keys.contains(&key.get_ref().as_ref())
    }

    fn must(&self, key: &str, what: impl fmt::Display, value: &Spanned<DeValue<'_>>) {
        let found = kind_of(value.get_ref());
        self.wrong.note(value.span(), format!("`{key}` must be {what}, and is {found}"));
    }

    /// Text, which must not be empty.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) if text.is_empty() => {
                self.wrong.note(value.span(), format!("`{key}` is empty: write something, or leave the key out"));
                None
            }
            DeValue::String(text) => Some(text),
            _ => {
                self.must(key, "text in quotes", value);
                None
            }
        }
    }

    /// Text that `read` makes something of, or says why not.
    pub fn parsed<T>(&self, key: &str, read: impl FnOnce(&'a str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        read(text).map_err(|why| self.wrong.note(self.span(key), why)).ok()
    }

    /// One of a few words.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |text| {
            let known = words.iter().find(|(word, _)| *word == text).map(|&(_, value)| value);
            let all = || alternatives(words.iter().map(|&(word, _)| word));
            known.ok_or_else(|| format!("{} is no `{key}`: write {}", quoted(text), all()))
        })
    }

    /// A whole number.
    pub fn number(&self, key: &str, within: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?;
        let must = format!("a whole number from {} to {}", within.start(), within.end());
        let DeValue::Integer(integer) = value.get_ref() else {
            self.must(key, must, value);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|it| within.contains(it));
        if number.is_none() {
            let said = quoted(&integer.to_string());
            self.wrong.note(value.span(), format!("`{key}` must be {must}, and {said} is not"));
        }
        number
    }

    /// A time with its unit.
    pub fn time(&self, key: &str, within: RangeInclusive<Duration>) -> Option<Duration> {
        let (least, most) = (span::show(*within.start()), span::show(*within.end()));
        let must = format!("a time from {least} to {most} such as \"2s\" or \"500ms\"");
        let value = self.get(key)?;
        let DeValue::String(text) = value.get_ref() else {
            self.must(key, must, value);
            return None;
        };
        let time = span::parse(text).filter(|time| within.contains(time));
        if time.is_none() {
            self.wrong.note(value.span(), format!("`{key}` must be {must}, and {} is not", quoted(text)));
        }
        time
    }

    /// A list of texts, each with its place.
    pub fn texts(&self, key: &str) -> Option<Vec<(&'a str, Span)>> {
        let value = self.get(key)?;
        let DeValue::Array(list) = value.get_ref() else {
            self.must(key, "a list such as [\"one\", \"other\"]", value);
            return None;
        };
        if list.is_empty() {
            self.wrong.note(value.span(), format!("`{key}` is empty: list one at least"));
        }
        let text = |item: &'a Spanned<DeValue<'a>>| match item.get_ref() {
            DeValue::String(text) => Some((text.as_ref(), item.span())),
            _ => {
                self.must(key, "a list of texts in quotes", item);
                None
            }
        };
        Some(list.iter().filter_map(text).collect())
    }

    /// A table in this one.
    pub fn table(&self, key: &str, kind: &'static Kind) -> Option<Fields<'a>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Fields::new(table, value.span(), kind, self.wrong)),
            _ => {
                self.must(key, format_args!("one table, {}", kind.head), value);
                None
            }
        }
    }

    /// Tables in this one, each with a head of its own.
    pub fn tables(&self, key: &str, kind: &'static Kind) -> Option<Vec<Fields<'a>>> {
        let value = self.get(key)?;
        let DeValue::Array(list) = value.get_ref() else {
            self.must(key, format_args!("{}, a table for each", kind.head), value);
            return None;
        };
        let table = |item: &'a Spanned<DeValue<'a>>| match item.get_ref() {
            DeValue::Table(table) => Some(Fields::new(table, item.span(), kind, self.wrong)),
            _ => {
                self.must(key, format_args!("{}, a table for each", kind.head), item);
                None
            }
        };
        Some(list.iter().filter_map(table).collect())
    }
}
