//! What is said by way of the control socket: a line of JSON each way.

use super::{BackendReport, StatusReport};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The longest request, its end of line included.
pub(super) const MOST: usize = 4_096;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// What it is like now.
    Status {},
    /// What would become of a flow.
    Explain {
        /// The client's end.
        source: SocketAddr,
        /// The service's name; with a colon and a port behind it where that has every port.
        service: String,
    },
    /// A backend gets no new flows.
    Drain {
        /// Which, as `SERVICE/BACKEND`.
        backend: String,
        /// For how many seconds those that it has may go on; for ever where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
    /// A backend gets new flows.
    Serve {
        /// Which, as `SERVICE/BACKEND`.
        backend: String,
    },
    /// A backend has another weight.
    Weight {
        /// Which, as `SERVICE/BACKEND`.
        backend: String,
        /// At most [`MAX_WEIGHT`](crate::lb::MAX_WEIGHT).
        weight: u32,
    },
    /// The file is read anew.
    Reload {},
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(StatusReport),
    /// To [`Request::Explain`]: some lines of text.
    Explained(String),
    /// To all that change something.
    Changed(Changed),
    /// Why it is not done: one sentence, or what is wrong with the file.
    Refused(String),
}

/// What has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The plan that was applied, in lines.
    pub plan: String,
    /// What there is to say beside it, a sentence each.
    pub notes: Vec<String>,
    /// The backend that was spoken of, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Box<BackendReport>>,
}
