//! What is wrong with a file, and where: as compilers say it, so that editors find the place.

use std::{fmt, ops::Range, sync::Arc};

/// Octets of the file, from where to where.
pub(super) type Span = Range<usize>;

/// Faults that are shown at most.
const SHOWN: usize = 100;
/// Characters of a line that are shown at most, and how many of them before the fault.
const WIDTH: usize = 100;
const BEFORE: usize = 40;

/// A file's name and text.
#[derive(Clone)]
pub(super) struct Source {
    pub name: String,
    pub text: Arc<str>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} octets)", self.name, self.text.len())
    }
}

impl Source {
    /// Something that is wrong with the file as a whole.
    pub fn as_a_whole(&self, what: impl Into<String>) -> Faults {
        Faults { file: self.name.clone(), faults: vec![Fault { place: None, what: what.into(), excerpt: None }] }
    }

    /// What is wrong in these places, in the order of the file.
    pub fn faults(&self, mut wrong: Vec<(Span, String)>) -> Faults {
        wrong.sort_by_key(|(span, _)| span.start);
        let starts: Vec<usize> =
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let faults = wrong.into_iter().map(|(span, what)| self.fault(&starts, span, what)).collect();
        Faults { file: self.name.clone(), faults }
    }

    fn fault(&self, starts: &[usize], span: Span, what: String) -> Fault {
        let text = &*self.text;
        let mut at = span.start.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let index = starts.partition_point(|&start| start <= at) - 1;
        let start = starts[index];
        let line = text[start..].lines().next().unwrap_or_default();
        // An end of line belongs to the line that it ends.
        let column = text[start..at].chars().count().min(line.chars().count());
        let end = span.end.min(start + line.len()).max(at);
        let width = text.get(at..end).map_or(1, |marked| marked.chars().count().max(1));
        let excerpt = (!line.trim().is_empty()).then(|| excerpt(line, column, width));
        Fault { place: Some((index + 1, column + 1)), what, excerpt }
    }
}

/// The line, or the part of it around the fault, with what is meant underlined.
fn excerpt(line: &str, column: usize, width: usize) -> String {
    let from = if line.chars().count() > WIDTH { column.saturating_sub(BEFORE) } else { 0 };
    let shown: String = line
        .chars()
        .skip(from)
        .take(WIDTH)
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    let column = column - from;
    let width = width.min(shown.chars().count().saturating_sub(column)).max(1);
    format!("    {}\n    {}{}", shown.trim_end(), " ".repeat(column), "^".repeat(width))
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line and column, in characters, both from 1; `None` where it is the file as a whole.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what to do about it: one sentence.
    pub what: String,
    /// The line, and below it marks under what is meant.
    excerpt: Option<String>,
}

/// Everything that is wrong with a file, in its order. As text each fault is `FILE:LINE:COLUMN: what`, and below it the
/// line with what is meant underlined; at most a hundred of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Faults {
    file: String,
    faults: Vec<Fault>,
}

impl Faults {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// The file's name, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.faults.len()
    }

    /// The file is fine, unless there are any.
    pub(super) fn or<T>(self, fine: T) -> Result<T, Self> {
        if self.faults.is_empty() { Ok(fine) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        for (index, Fault { place, what, excerpt }) in self.faults.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match place {
                Some((line, column)) => write!(f, "{file}:{line}:{column}: {what}")?,
                None => write!(f, "{file}: {what}")?,
            }
            if let Some(excerpt) = excerpt {
                write!(f, "\n{excerpt}")?;
            }
        }
        match self.faults.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n{file}: {more} more faults are not shown"),
        }
    }
}

impl std::error::Error for Faults {}

debug_as_display!(Faults);

/// A word of the file's as it may be printed: nothing that moves a cursor, and not a page of it.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
