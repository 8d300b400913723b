//! Control sockets: how a process that runs is spoken to. A line of JSON is the question, a line or many are the answer, by way of a
//! socket that only its owner may open.
//!
//! What is asked and answered is its owner's affair: whoever [answers](Answers) names a type of requests, and says what he likes to a
//! [`Hearer`]. A line `{"refused":"why"}` is a refusal, whoever says it.

mod ask;
mod serve;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{
    ask::{AskError, Asked, ask},
    serve::{Answers, Gone, Hearer, Serving},
    socket::{Control, ControlError},
};

use serde::{Deserialize, Serialize};

/// The longest request, octets, its end of line included.
pub(crate) const MOST: usize = 4_096;

/// Whom a control socket belongs to, in the words of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// What it is.
    pub name: &'static str,
    /// What says where its socket is.
    pub setting: &'static str,
    /// How one is begun, and found.
    pub start: &'static str,
    /// How one that hangs is got rid of.
    pub again: &'static str,
    /// What lists the requests.
    pub help: &'static str,
}

/// Why there is no answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Refusal {
    /// In a sentence.
    Refused(String),
}
