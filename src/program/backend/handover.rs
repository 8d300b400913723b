//! Handshakes that balancers have answered: the secret that their cookies are made with, and what the kernel must be ready for.

use super::{BackendError, checks::Advice};
use crate::{
    bpf::{BackendMaster, BackendProgram, BackendSettings},
    host::{key_file, listeners, sysctl},
    rng::SipKey,
};
use std::{net::IpAddr, path::Path, time::Duration};

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

/// Until when a master's cookies count, in seconds since 1970.
pub(super) fn ends(master: BackendMaster) -> u64 {
    master.last_epoch.saturating_add(1).saturating_mul(EPOCH.as_secs())
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

/// Options that a balancer may have promised, with the setting by which the kernel has them.
const OPTIONS: [(&str, &str); 3] =
    [("timestamps", "timestamps"), ("SACK", "sack"), ("scaled windows", "window_scaling")];

/// What will not be taken over as things are.
pub(super) fn examine(settings: &BackendSettings) -> Result<Vec<Advice>, BackendError> {
    let mut advice = Vec::new();
    for (option, name) in OPTIONS {
        if sysctl::read(&format!("net/ipv4/tcp_{name}"))?.as_deref() == Some("0") {
            advice.push(Advice::new(
                format!("the kernel refuses connections with {option}, which a balancer may have promised"),
                format!("run `sysctl -w net.ipv4.tcp_{name}=1`"),
            ));
        }
    }
    if sysctl::read("net/ipv4/tcp_rfc1337")?.as_deref() == Some("1") {
        advice.push(Advice::new(
            "a client that uses a port again while its last connection is in TIME-WAIT here is kept waiting",
            "run `sysctl -w net.ipv4.tcp_rfc1337=0`",
        ));
    }
    let is_served = |address: IpAddr| address.is_unspecified() || settings.vips.contains(&address);
    for listener in listeners::of_mptcp()?.into_iter().filter(|listener| is_served(listener.ip())) {
        advice.push(Advice::new(
            format!("{listener} is a listener of MPTCP, to which the kernel hands no connection over"),
            "let the server listen with TCP (in Go, `ListenConfig.SetMultipathTCP(false)`), or leave the service's SYNs to it",
        ));
    }
    Ok(advice)
}

#[cfg(test)]
mod tests {
    use super::{FORMER_GOOD, ends, masters};
    use crate::{
        bpf::{BackendMaster, BackendSettings},
        rng::SipKey,
    };
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(1_000_000);

    fn before(seed: u64, former: Option<BackendMaster>) -> BackendSettings {
        let master = Some(BackendMaster::present(SipKey::from_seed(seed)));
        BackendSettings { master, former_master: former, ..BackendSettings::default() }
    }

    #[test]
    fn another_master_keeps_the_one_before_for_a_while() {
        let key = SipKey::from_seed(2);
        assert_eq!(masters(key, None, NOW), (Some(BackendMaster::present(key)), None));
        let (present, former) = masters(key, Some(&before(1, None)), NOW);
        assert_eq!(present, Some(BackendMaster::present(key)));
        let former = former.unwrap();
        assert_eq!(former.key.to_bytes(), SipKey::from_seed(1).to_bytes());
        let until = Duration::from_secs(ends(former));
        assert!(until > NOW + FORMER_GOOD && until <= NOW + FORMER_GOOD + super::EPOCH, "{until:?}");
        // Attached once more with the same, nothing is lost, and nothing is put off.
        let again = masters(key, Some(&before(2, Some(former))), NOW + FORMER_GOOD / 2);
        assert_eq!(again, (present, Some(former)));
        let later = masters(key, Some(&before(2, Some(former))), until);
        assert_eq!(later, (present, None), "over is over");
        // There are two at most.
        let third = masters(SipKey::from_seed(3), Some(&before(2, Some(former))), NOW);
        assert_eq!(third.1.unwrap().key.to_bytes(), key.to_bytes());
    }
}
