//! Handshakes that balancers have answered: the secret that their cookies are made with, and what the kernel must be ready for.

use super::{BackendError, checks::Advice};
use crate::{
    bpf::{BackendMaster, BackendProgram, BackendSettings},
    host::{key_file, sysctl},
    rng::SipKey,
};
use std::{path::Path, time::Duration};

/// How long an epoch of the cookies lasts (`tcp::cookie`).
const EPOCH: Duration = Duration::from_secs(64);

/// For how long the cookies of the master before count: backends get the new one first, and then, one after the other, the balancers.
pub const FORMER_GOOD: Duration = Duration::from_secs(3_600);

/// What is read from the file, and what is to be said of it.
pub(super) fn read_master(path: &Path) -> Result<(SipKey, Option<Advice>), BackendError> {
    let key_file::Found { key, readable } = key_file::read(path).map_err(BackendError::Master)?;
    let shown = path.display();
    let advice = readable.map(|mode| Advice {
        finding: format!("others may read the cookies' master key in {shown} (mode {mode:04o})"),
        remedy: format!("run `chmod 600 {shown}`"),
    });
    Ok((key, advice))
}

/// The masters, where one program takes the place of another at this time since 1970: the one before counts for a while.
pub(super) fn masters(
    key: SipKey,
    before: Option<&BackendSettings>,
    now: Duration,
) -> (Option<BackendMaster>, Option<BackendMaster>) {
    let epoch = |time: Duration| time.as_secs() / EPOCH.as_secs();
    let former = before.and_then(|before| match before.master? {
        same if same.key.to_bytes() == key.to_bytes() => before.former_master,
        other => Some(BackendMaster { last_epoch: epoch(now + FORMER_GOOD), ..other }),
    });
    (Some(BackendMaster::present(key)), former.filter(|former| former.last_epoch >= epoch(now)))
}

/// Whether the kernel can take handshakes over at all.
pub(super) fn require() -> Result<(), BackendError> {
    match BackendProgram::can_adopt() {
        Ok(true) => {}
        Ok(false) => return Err(BackendError::NoAdoption),
        Err(source) => return Err(BackendError::NoTypes(source)),
    }
    match sysctl::read("net/ipv4/tcp_syncookies")?.as_deref() {
        Some("1" | "2") => Ok(()),
        Some(_) => Err(BackendError::CookiesOff),
        None => Err(BackendError::NoCookies),
    }
}
