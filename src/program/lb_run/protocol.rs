//! What is said by way of the control socket: a line of JSON each way.

use super::{BackendReport, Session, StatusReport};
use crate::control::{Answers, AskError, Gone, Hearer, Role};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::Path, time::Duration};

/// How long a balancer may take: a reload asks on the link for each address that is new, and works out all tables.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whose socket it is.
pub(super) static BALANCER: Role = Role {
    name: "balancer",
    setting: "control",
    start: "start one by `xskip lb run --config FILE`, or say where it is by --control",
    again: "`xskip lb run` has to start anew",
    help: "xskip lb --help",
};

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

/// Asks the balancer whose control socket this is, and waits for its answer, which is never [`Answer::Refused`].
///
/// # Errors
/// [`AskError`] says what to do.
pub fn ask(control: &Path, request: &Request) -> Result<Answer, AskError> {
    crate::control::ask(&BALANCER, control, request, PATIENCE)
}

impl Answers for Session {
    type Request = Request;

    fn answer(&self, request: Request, hearer: &mut Hearer<'_, '_>) -> Result<(), Gone> {
        hearer.say(&Session::answer(self, request))
    }
}
