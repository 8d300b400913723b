//! Nothing happens: requests on connections that stay, and then connections that come and go.

use super::{
    BACKENDS, Brought, LbContender, Member, Stage,
    ground::{Ground, PORT, in_front, service},
};
use crate::bench::{
    BenchError,
    comparison::client::{Figures, Job, Mode},
    summary::Metrics,
};
use std::{net::SocketAddr, time::Duration};

/// Nothing is measured before.
const WARM_UP: Duration = Duration::from_secs(1);

impl Stage<'_> {
    pub(super) fn steady(&self) -> Result<Brought, BenchError> {
        let ground = self.ground(BACKENDS)?;
        let servers = self.serve(&ground, BACKENDS)?;
        let balancing = self.balance(&ground, &Member::all(BACKENDS))?;
        let mut metrics = Metrics::default();
        let kept = self.load(&ground, Mode::KeepAlive)?;
        metrics.set("requests_per_second", kept.per_second);
        metrics.set("latency_us_p50", kept.latency().p50);
        metrics.set("latency_us_p99", kept.latency().p99);
        metrics.set("failed_requests", kept.failed_total);
        let new = self.load(&ground, Mode::Connect)?;
        metrics.set("connections_per_second", new.per_second);
        metrics.set("connection_us_p50", new.latency().p50);
        metrics.set("connection_us_p99", new.latency().p99);
        metrics.set("failed_connections", new.failed_total);
        balancing.stop()?;
        servers.into_iter().try_for_each(|server| server.nginx.stop())?;
        Ok(metrics.into())
    }

    fn load(&self, ground: &Ground, mode: Mode) -> Result<Figures, BenchError> {
        let target = match self.contender {
            LbContender::Direct => SocketAddr::new(in_front(1).into(), PORT),
            _ => service(),
        };
        let job = Job {
            program: &self.bench.program,
            core: self.places.clients,
            target,
            mode,
            request: "/",
            connections: self.bench.connections,
            warm_up: WARM_UP,
            duration: self.bench.duration,
            spin: false,
        };
        job.start(ground.host("client"))?.finish(self.interrupted, || ())
    }
}
