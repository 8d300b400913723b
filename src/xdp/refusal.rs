//! Why libbpf could not do something: told apart by the kernel's error number, with what it said on the way.

use super::XdpError;
use libbpf_rs::{PrintLevel, set_print};
use std::{cell::RefCell, error::Error, io, iter, sync::Once};

/// What is remembered of libbpf's words, in octets: a verifier's log ends with the reason.
const REMEMBERED: usize = 16 << 10;

thread_local! {
    /// What libbpf said on this thread since [`listen`].
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Begins to remember what libbpf says on this thread, which it would otherwise write to standard error.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        set_print(Some((PrintLevel::Info, remember)));
    });
    SAID.with_borrow_mut(String::clear);
}

fn remember(_: PrintLevel, message: String) {
    tracing::debug!("{}", message.trim_end());
    SAID.with_borrow_mut(|said| {
        said.push_str(&message);
        let surplus = said.len().saturating_sub(REMEMBERED);
        let cut = (surplus..said.len()).find(|&at| said.is_char_boundary(at)).unwrap_or(said.len());
        said.drain(..cut);
    });
}

/// The error of a program that was not loaded.
pub fn not_loaded(source: libbpf_rs::Error) -> XdpError {
    explain(source, &SAID.take())
}

fn explain(source: libbpf_rs::Error, said: &str) -> XdpError {
    let what = || "load the XDP program".to_owned();
    let number = os_error(&source);
    match number {
        // EPERM is the word of missing rights, EACCES the verifier's; E2BIG, too, where it has looked at too much.
        Some(libc::EPERM) => XdpError::NotPermitted { what: what() },
        Some(libc::EACCES | libc::E2BIG) => XdpError::Verifier { reason: reason(said) },
        // Where one descriptor too few was left for its maps, libbpf goes on with what held the place of one.
        Some(libc::EINVAL) if said.contains(NO_MAP) => XdpError::NoDescriptors { what: what() },
        Some(libc::EINVAL) if said.contains(LOG_BEGINS) => XdpError::Verifier { reason: reason(said) },
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS) => XdpError::Load { source },
        Some(number) => XdpError::refused(what(), io::Error::from_raw_os_error(number)),
        None => XdpError::Load { source },
    }
}

/// The kernel's error for something that was asked of a loaded program or its maps.
pub(super) fn refused(what: impl Into<String>, error: &libbpf_rs::Error) -> XdpError {
    let source = os_error(error).map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error);
    XdpError::refused(what, source)
}

/// The kernel's error number behind one of libbpf-rs', which shows it in words only.
fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let root = iter::successors(Some(error), |&error| error.source()).last()?.to_string();
    let (_, behind) = root.rsplit_once("(os error ")?;
    behind.split_once(')')?.0.parse().ok()
}

const NO_MAP: &str = "is not pointing to valid bpf_map";

/// How libbpf frames the verifier's log.
const LOG_BEGINS: &str = "-- BEGIN PROG LOAD LOG --";
const LOG_ENDS: &str = "-- END PROG LOAD LOG --";

/// The verifier's last word: its statistics follow it.
fn reason(said: &str) -> String {
    let log = said.rsplit_once(LOG_BEGINS).map_or(said, |(_, log)| log);
    let log = log.split_once(LOG_ENDS).map_or(log, |(log, _)| log);
    let is_word = |line: &&str| !line.is_empty() && !line.starts_with("processed ") && !line.starts_with("libbpf: ");
    log.lines().map(str::trim).rfind(is_word).unwrap_or("it gave no reason").to_owned()
}

#[cfg(test)]
mod tests;
