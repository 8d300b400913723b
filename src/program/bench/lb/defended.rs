//! Clients of a service behind a balancer: at peace, and while SYNs flood it.

use super::{
    BACKENDS, Brought, Member, Stage,
    balancing::Balancing,
    ground::{CLIENT, Ground, service},
};
use crate::{
    bench::{
        BenchError, Contender, Progress, account,
        legit::{LegitFigures, LegitLoad, LegitOptions},
        summary::{Metrics, microseconds},
        syn_flood::{PATIENCE, steer_answers, watch},
        turns::wait,
    },
    flood::{Flood, FloodCounts, FloodKind, FloodOptions},
    host::Link,
    lab::{FLOODS, INTERFACE},
};
use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// Nothing is measured before: neither of the clients, nor of the flood.
const WARM_UP: Duration = Duration::from_millis(500);
/// Clients a second.
const CLIENTS: u32 = 100;

/// Clients, and a flood of SYNs beside them, on one core of the client's.
pub(crate) struct Siege<'a> {
    pub ground: &'a Ground,
    pub core: usize,
    pub interrupted: &'a AtomicBool,
}

impl Siege<'_> {
    /// Has what is answered to the flood go back to where it comes from, which a kernel would not know.
    pub fn prepare(&self) -> Result<(), BenchError> {
        let (flooders, length) = FLOODS[0];
        let lead = || Link::find(INTERFACE)?.add_route((flooders, length), CLIENT.into());
        self.ground.host("balancer").run(lead)??;
        steer_answers(self.ground.host("client"), self.core)
    }

    /// Lets clients come and go for a while, and waits for the last of them.
    pub fn at_peace(&self, period: Duration, progress: &mut dyn FnMut(Progress)) -> Result<LegitFigures, BenchError> {
        self.visits(period, None, progress)
    }

    /// Has clients come and go under a flood, and tells what that did meanwhile: how much, and in how many seconds.
    pub fn under_flood(
        &self,
        period: Duration,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(LegitFigures, FloodCounts, f64), BenchError> {
        // It gives way to everything else on its core, so that what clients wait for is the balancer; and it may last longer than
        // needed, however long the last clients take: it is stopped when they are done.
        let options = FloodOptions {
            core: Some(self.core),
            duration: period + 4 * PATIENCE,
            background: true,
            ..FloodOptions::new(INTERFACE, service(), FloodKind::Syn)
        };
        let flood = self.ground.host("client").run(|| Flood::start(&options))??;
        wait(WARM_UP, self.interrupted)?;
        let (begun, before) = (Instant::now(), flood.counts()?);
        let clients = self.visits(period, Some(&flood), progress)?;
        let (counts, span) = (flood.counts()?.since(&before), begun.elapsed().as_secs_f64());
        flood.stop();
        flood.finish()?;
        Ok((clients, counts, span))
    }

    fn visits(
        &self,
        period: Duration,
        flood: Option<&Flood>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<LegitFigures, BenchError> {
        let core = Some(self.core);
        let options = LegitOptions { targets: vec![service()], per_second: CLIENTS, patience: PATIENCE, core };
        let load = self.ground.host("client").run(|| LegitLoad::start(options))?.map_err(BenchError::Clients)?;
        watch(Contender::Xskip, Some(load), flood, period, progress, self.interrupted)
    }
}

impl Stage<'_> {
    pub(super) fn defended(&self) -> Result<Brought, BenchError> {
        let ground = self.ground(BACKENDS)?;
        let siege = Siege { ground: &ground, core: self.places.clients, interrupted: self.interrupted };
        siege.prepare()?;
        let servers = self.serve(&ground, BACKENDS)?;
        let balancing = self.balance(&ground, &Member::all(BACKENDS))?;
        siege.at_peace(WARM_UP, &mut |_| ())?;
        let idle = siege.at_peace(self.bench.duration / 2, &mut |_| ())?;
        let memory = resident(&balancing);
        let (clients, counts, span) = siege.under_flood(self.bench.duration, &mut |_| ())?;
        let grown = resident(&balancing).zip(memory).map(|(after, before)| (after - before) / 1_024.0);
        balancing.stop()?;
        servers.into_iter().try_for_each(|server| server.nginx.stop())?;
        // A median over rounds would not tell of them.
        for (reason, count) in &clients.reasons {
            tracing::warn!("{count} clients of {} failed: {reason}", self.contender);
        }
        let mut metrics = Metrics::default();
        metrics.set("offered_syn_per_second", counts.sent as f64 / span);
        metrics.set("syn_ack_per_second", counts.syn_acks as f64 / span);
        metrics.set_legit(&clients);
        metrics.set("served", (clients.attempts - clients.failures) as f64);
        metrics.set("idle_failures", idle.failures as f64);
        metrics.set("idle_full_us_p50", microseconds(&idle.full, 0.5));
        metrics.set("idle_full_us_p99", microseconds(&idle.full, 0.99));
        metrics.set("balancer_memory_growth_kib", grown);
        Ok(metrics.into())
    }
}

/// The memory of a balancer's processes, bytes.
fn resident(balancing: &Balancing<'_>) -> Option<f64> {
    account::resident(&balancing.processes()).map(|bytes| bytes as f64)
}
