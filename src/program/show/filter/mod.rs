//! Filters as `ss` has them: `state established and ( dport = :443 or dst 198.18.0.0/24 ) and not rtt < 10ms`.

mod parse;
mod words;

use super::{Field, List, Row, row::Kind};
use crate::stack::Cidr;
use std::net::SocketAddr;
use thiserror::Error;

/// What a filter says that is not understood: which word it is, and what could stand there.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{}: {why}", .word.as_deref().map_or_else(|| "the filter ends too early".to_owned(), |word| format!("word {place} of the filter, `{word}`, is not understood")))]
pub struct BadFilter {
    /// The word; nothing where the filter ends too early.
    pub word: Option<String>,
    /// The how manieth it is, from 1.
    pub place: usize,
    /// What is wrong with it, and what could stand there.
    pub why: String,
}

debug_as_display!(BadFilter);

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, one: T, other: T) -> bool {
        match self {
            Self::Equal => one == other,
            Self::Unequal => one != other,
            Self::Less => one < other,
            Self::AtMost => one <= other,
            Self::Greater => one > other,
            Self::AtLeast => one >= other,
        }
    }
}

/// What must hold of a row.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// One of these words.
    Word(Field, Vec<String>),
    /// An end in this block, and with this port, as far as they are said.
    End(Field, Option<Cidr>, Option<u16>),
    Port(Field, Comparison, u16),
    Number(Field, Comparison, f64),
}

/// What rows of a list are wanted: those of which all of it holds. A comparison with what a row does not have holds never.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Node);

impl Filter {
    /// Reads a filter for rows of this list; nothing at all lets everything pass.
    ///
    /// # Errors
    /// [`BadFilter`] names the word that is not understood.
    pub fn parse(list: List, text: &str) -> Result<Self, BadFilter> {
        parse::parse(list, text).map(Self)
    }

    /// Whether the row is wanted.
    pub fn accepts(&self, row: &impl Row) -> bool {
        self.0.holds(row)
    }
}

impl Node {
    fn holds(&self, row: &impl Row) -> bool {
        let end = |field| -> Option<SocketAddr> { row.end(field) };
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(row)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(row)),
            Self::Not(node) => !node.holds(row),
            Self::Word(field, words) => words.iter().any(|word| row.is_word(*field, word)),
            Self::End(field, block, port) => end(*field).is_some_and(|end| {
                block.is_none_or(|block| block.contains(end.ip())) && port.is_none_or(|port| port == end.port())
            }),
            Self::Port(field, comparison, port) => end(*field).is_some_and(|end| comparison.holds(end.port(), *port)),
            Self::Number(field, comparison, number) => {
                row.number(*field).is_some_and(|its| comparison.holds(its, *number))
            }
        }
    }
}

/// A field by which rows of this list can be sorted.
///
/// # Errors
/// [`BadFilter`], where the word names none.
pub(super) fn sort_field(list: List, word: &str) -> Result<Field, BadFilter> {
    let is_number = |field: &Field| matches!(field.kind(), Kind::Number | Kind::Time);
    let named = Field::named(word).filter(|field| Field::of(list).contains(field));
    named.filter(is_number).ok_or_else(|| {
        let names: Vec<_> = Field::of(list).iter().filter(|field| is_number(field)).map(|field| field.name()).collect();
        BadFilter {
            word: Some(word.to_owned()),
            place: 1,
            why: format!("{list} can be sorted by {}", words::one_of(&names)),
        }
    })
}
