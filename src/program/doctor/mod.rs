//! What stands between this machine and a running server, line by line, and what to do about it.
//!
//! Nothing is guessed that can be asked, and nothing asked that can be tried: whether an interface runs XDP in its
//! driver, and whether it shares its memory with a socket, is found out by doing both for a moment. An interface that
//! has a program already is only looked at.

mod interface;
mod machine;
mod peer;
mod trial;

use std::fmt;

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A server runs, but not as well or as safely as it could.
    Warn,
    /// A server does not run.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One check and how it came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was checked, in a word or two.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub finding: String,
    /// What to do about it; there is something unless all is well.
    pub remedy: Option<String>,
}

impl Line {
    fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, finding: finding.into(), remedy: None }
    }

    fn warn(check: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    /// A fact that could not be read is no reason not to start.
    fn unread(check: &'static str, error: &impl fmt::Display) -> Self {
        Self::warn(check, error.to_string(), "run as root on a machine with /proc and /sys mounted")
    }
}

/// The word that the checks are aligned to.
const CHECK_WIDTH: usize = 14;

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<5} {:<CHECK_WIDTH$} {}", self.verdict, self.check, self.finding)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n{:<5} {:<CHECK_WIDTH$} → {remedy}", "", ""),
            None => Ok(()),
        }
    }
}

/// What the doctor found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The interface that was looked at, if one was named.
    pub interface: Option<String>,
    /// The worst verdict of all lines.
    pub verdict: Verdict,
    /// The checks, in the order they were made.
    pub lines: Vec<Line>,
}

/// Whether the doctor may touch the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trial {
    /// Attach a program that passes every frame, bind a socket, and undo both at once. Some drivers set their rings up
    /// anew for that, and the link pauses for a moment.
    #[default]
    Allowed,
    /// Only look.
    Forbidden,
}

/// Examines the machine, and the interface if one is named. A check that cannot be made is a line like the others.
pub fn examine(interface: Option<&str>, trial: Trial) -> Report {
    let mut lines = machine::examine();
    if let Some(name) = interface {
        lines.extend(interface::examine(name, trial));
    }
    let verdict = lines.iter().map(|line| line.verdict).max().unwrap_or(Verdict::Ok);
    Report { interface: interface.map(str::to_owned), verdict, lines }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let count = |verdict| self.lines.iter().filter(|line| line.verdict == verdict).count();
        let (ok, warn, fail) = (count(Verdict::Ok), count(Verdict::Warn), count(Verdict::Fail));
        write!(f, "{ok} ok, {warn} to look at, {fail} in the way")
    }
}

#[cfg(test)]
mod tests;
