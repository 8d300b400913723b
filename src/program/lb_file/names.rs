//! Backends by the names that commands give them.

use super::{File, fault::quoted};
use crate::lb::Backend;
use std::{fmt, str::FromStr};

/// A backend, as commands name it: `SERVICE/BACKEND`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendName {
    /// The service's name.
    pub service: String,
    /// The backend's.
    pub backend: String,
}

impl FromStr for BackendName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((service, backend)) if !service.is_empty() && !backend.is_empty() && !backend.contains('/') => {
                Ok(Self { service: service.to_owned(), backend: backend.to_owned() })
            }
            _ => Err(format!("{} names no backend: write SERVICE/BACKEND, such as web/web-1", quoted(text))),
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.backend)
    }
}

/// No such service or backend in a file: one sentence with those that may be meant.
#[derive(thiserror::Error, Clone, PartialEq, Eq)]
#[error("{0}")]
pub struct NoSuchBackend(String);

debug_as_display!(NoSuchBackend);

impl File {
    /// The backend of that name, as the file has it.
    ///
    /// # Errors
    /// Where there is none, with the names that come nearest.
    pub fn find(&self, name: &BackendName) -> Result<&Backend, NoSuchBackend> {
        let service = self.services.iter().find(|it| it.name == name.service).ok_or_else(|| {
            let known = self.services.iter().map(|it| it.name.as_str());
            let what = format!("there is no service {}", quoted(&name.service));
            NoSuchBackend(format!("{what}{}", advice(&name.service, known)))
        })?;
        service.backends.iter().find(|it| it.name == name.backend).ok_or_else(|| {
            let known = service.backends.iter().map(|it| it.name.as_str());
            let what = format!("service `{}` has no backend {}", service.name, quoted(&name.backend));
            NoSuchBackend(format!("{what}{}", advice(&name.backend, known)))
        })
    }
}

/// The word that may be meant by one that is not known.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody slips over a page, and distances take the product of lengths.
    if word.len() > LONGEST {
        return None;
    }
    // An error in three letters is a slip, more is another word.
    let near = 1 + word.chars().count() / 3;
    let distances = known.map(|known| (strsim::damerau_levenshtein(word, known), known));
    distances.filter(|(distance, _)| *distance <= near).min().map(|(_, known)| known)
}

/// The longest word that is looked for, octets: as long as a name may be.
const LONGEST: usize = 128;

fn advice<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(
        || ": `xskip lb status` lists those there are".to_owned(),
        |name| format!("; did you mean `{name}`?"),
    )
}
