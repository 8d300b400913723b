//! Connections at rest: what they take of a balancer's process, and of the kernel for it.

use super::{
    BACKENDS, Stage,
    balancing::{Balancing, room},
    ground::Ground,
};
use crate::bench::{BenchError, account, comparison::client::Mode, summary::Metrics};
use nix::unistd::Pid;
use std::time::Duration;

/// Connections that are held, at most.
const HELD: u32 = 10_000;
/// How long they are, once all are there.
const HOLD: Duration = Duration::from_secs(2);

/// What is in use at a moment; `None` where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    /// Of the balancer's processes, bytes.
    process: Option<u64>,
    /// For sockets, whosever they are, bytes.
    sockets: Option<u64>,
    /// For connections that the kernel tracks, bytes.
    tracked: Option<u64>,
    /// The balancer's sockets.
    own: Option<u64>,
    /// The backends'.
    others: Option<u64>,
}

impl Use {
    fn read(ground: &Ground, balancer: &[Pid]) -> Result<Self, BenchError> {
        let open = |host: &str| ground.host(host).run(account::open_sockets);
        let others: Vec<_> = (1..=BACKENDS).map(|number| open(&format!("b{number}"))).collect::<Result<_, _>>()?;
        Ok(Self {
            process: account::resident(balancer),
            sockets: account::sockets(),
            tracked: account::tracked(),
            own: open("balancer")?,
            others: others.into_iter().sum(),
        })
    }

    /// The most of each.
    fn most(self, other: Self) -> Self {
        Self {
            process: self.process.max(other.process),
            sockets: self.sockets.max(other.sockets),
            tracked: self.tracked.max(other.tracked),
            own: self.own.max(other.own),
            others: self.others.max(other.others),
        }
    }

    /// What was added of the balancer's process, and of the kernel for it. All sockets take alike, so those of the backends, which
    /// there are whoever balances, are taken off by their number.
    fn since(&self, before: &Self) -> (Option<u64>, Option<u64>) {
        let added = |of: fn(&Self) -> Option<u64>| Some(of(self)?.saturating_sub(of(before)?));
        let kernel = || {
            let (own, others) = (added(|it| it.own)?, added(|it| it.others)?);
            let of_sockets = added(|it| it.sockets)? * own / (own + others).max(1);
            Some(of_sockets + added(|it| it.tracked)?)
        };
        (added(|it| it.process), kernel())
    }
}

impl Stage<'_> {
    /// Opens connections that say nothing, and looks at the memory of who is between them and the backends.
    pub(super) fn rest(
        &self,
        ground: &Ground,
        balancing: &Balancing<'_>,
        metrics: &mut Metrics,
    ) -> Result<(), BenchError> {
        let processes = balancing.processes();
        let before = Use::read(ground, &processes)?;
        let (mut most, mut trouble) = (before, None);
        let connections = room()?.min(HELD);
        let client = self.job(Mode::Idle, "/", connections, HOLD).start(ground.host("client"))?;
        let figures = client.finish(self.interrupted, || match Use::read(ground, &processes) {
            Ok(now) => most = most.most(now),
            Err(error) => trouble = Some(error),
        })?;
        trouble.map_or(Ok(()), Err)?;
        let held = figures.established.filter(|&held| held > 0.0);
        let each = |bytes: Option<u64>| Some(bytes? as f64 / held?);
        let (process, kernel) = most.since(&before);
        let sum = process.zip(kernel).map(|(process, kernel)| process + kernel);
        metrics.set("held_connections", figures.established);
        metrics.set("bytes_per_connection", each(sum));
        metrics.set("process_bytes_per_connection", each(process));
        metrics.set("kernel_bytes_per_connection", each(kernel));
        metrics.set("failed_held_connections", figures.failed_total);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_backends_are_not_the_balancers() {
        let before =
            Use { process: Some(5_000), sockets: Some(1_000), tracked: Some(64), own: Some(1), others: Some(3) };
        let proxied = Use { process: Some(9_000), sockets: Some(31_000), own: Some(21), others: Some(13), ..before };
        assert_eq!(proxied.since(&before), (Some(4_000), Some(20_000)));
        let tracked = Use { sockets: Some(11_000), tracked: Some(664), others: Some(13), ..before };
        assert_eq!(tracked.since(&before), (Some(0), Some(600)));
        assert_eq!(before.since(&before), (Some(0), Some(0)));
        let unknown = Use { sockets: None, ..proxied };
        assert_eq!(unknown.since(&before), (Some(4_000), None));
        assert_eq!(before.most(proxied), proxied);
    }
}
