//! Nothing happens: requests on connections that stay, connections that come and go, downloads, and connections at rest.

use super::{
    BACKENDS, Brought, LbContender, Member, Stage,
    balancing::Balancing,
    ground::{Ground, PORT, in_front, service},
};
use crate::bench::{
    BenchError,
    account::{self, Sample},
    comparison::client::{Figures, Job, Mode},
    contender::nginx::LARGE,
    placement::Placement,
    summary::Metrics,
};
use std::{net::SocketAddr, time::Duration};

/// Nothing is measured before.
const WARM_UP: Duration = Duration::from_secs(1);
/// Downloads at a time: a few for each backend, and no queue between them that is longer than it is on a wire.
const DOWNLOADS: u32 = 8;

impl Stage<'_> {
    pub(super) fn steady(&self) -> Result<Brought, BenchError> {
        let ground = self.ground(BACKENDS)?;
        let servers = self.serve(&ground, BACKENDS)?;
        let balancing = self.balance(&ground, &Member::all(BACKENDS))?;
        let mut metrics = Metrics::default();
        let connections = self.bench.connections;
        let (kept, cost) = self.load(&ground, &balancing, Mode::KeepAlive, "/", connections)?;
        metrics.set("requests_per_second", kept.per_second);
        metrics.set("latency_us_p50", kept.latency().p50);
        metrics.set("latency_us_p99", kept.latency().p99);
        metrics.set("process_us_per_request", cost.zip(kept.per_second).map(|(share, rate)| share * 1e6 / rate));
        metrics.set("failed_requests", kept.failed_total);
        let (new, cost) = self.load(&ground, &balancing, Mode::Connect, "/", connections)?;
        metrics.set("connections_per_second", new.per_second);
        metrics.set("connection_us_p50", new.latency().p50);
        metrics.set("connection_us_p99", new.latency().p99);
        metrics.set("process_us_per_connection", cost.zip(new.per_second).map(|(share, rate)| share * 1e6 / rate));
        metrics.set("failed_connections", new.failed_total);
        let (bulk, _) = self.load(&ground, &balancing, Mode::Download, LARGE, DOWNLOADS)?;
        metrics.set("download_gbit_per_second", bulk.download_gbit_per_second);
        metrics.set("failed_downloads", bulk.failed_total);
        if self.contender != LbContender::Direct {
            self.rest(&ground, &balancing, &mut metrics)?;
        }
        balancing.stop()?;
        servers.into_iter().try_for_each(|server| server.nginx.stop())?;
        Ok(metrics.into())
    }

    /// Lets the client work, and sees how much of a core the balancer's process took meanwhile.
    fn load(
        &self,
        ground: &Ground,
        balancing: &Balancing<'_>,
        mode: Mode,
        request: &str,
        connections: u32,
    ) -> Result<(Figures, Option<f64>), BenchError> {
        let duration = self.bench.duration;
        let mut client = self.job(mode, request, connections, duration).start(ground.host("client"))?;
        let processes: Vec<_> = balancing.processes().into_iter().map(account::of_process).collect();
        let placement = Placement { server: self.places.balancer, clients: self.places.clients };
        // The client has begun by then, and is not at its end yet.
        client.wait_until(WARM_UP + duration / 4, self.interrupted)?;
        let before = Sample::take(placement, &processes);
        client.wait_until(WARM_UP + duration * 19 / 20, self.interrupted)?;
        let usage = before.and_then(|before| Some(Sample::take(placement, &processes)?.since(&before)));
        Ok((client.finish(self.interrupted, || ())?, usage.map(|usage| usage.server_process)))
    }

    pub(super) fn job<'a>(&'a self, mode: Mode, request: &'a str, connections: u32, duration: Duration) -> Job<'a> {
        let target = match self.contender {
            LbContender::Direct => SocketAddr::new(in_front(1).into(), PORT),
            _ => service(),
        };
        Job {
            program: &self.bench.program,
            core: self.places.clients,
            target,
            mode,
            request,
            connections,
            warm_up: WARM_UP,
            duration,
            spin: false,
        }
    }
}
