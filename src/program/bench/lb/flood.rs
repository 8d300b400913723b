//! As many packets as will go, in by one link and out by another.

use super::{
    BACKENDS, Brought, LbContender, Member, Stage,
    ground::{BACK, Ground, service},
};
use crate::{
    bench::{BenchError, contender::ContenderError, summary::Metrics, turns::wait},
    bpf::{Redirector, Sink},
    flood::{Flood, FloodKind, FloodOptions},
    host::Link,
    lab::INTERFACE,
    lb::Mode,
    xdp::Require,
};
use std::time::{Duration, Instant};

/// Nothing is counted before.
const WARM_UP: Duration = Duration::from_millis(300);
/// One port, so that there are as many flows as addresses they come from.
const SOURCE_PORT: u16 = 40_000;
/// How much longer the flood may last than it is counted: it is stopped before.
const SPARE: Duration = Duration::from_secs(30);

impl Stage<'_> {
    /// Segments with ACK; where flows are rewritten, only a SYN opens one.
    fn kind(&self) -> FloodKind {
        let is_rewritten = self.contender == LbContender::Xskip && self.bench.mode == Mode::Nat;
        if is_rewritten { FloodKind::Syn } else { FloodKind::Ack }
    }

    pub(super) fn flood(&self) -> Result<Brought, BenchError> {
        let ground = Ground::looped(BACKENDS)?;
        let balancing = self.balance(&ground, &Member::all(BACKENDS))?;
        let _redirector = if self.contender == LbContender::Redirect { Some(redirect(&ground)?) } else { None };
        let sink = end_frames(&ground)?;
        let options = FloodOptions {
            core: Some(self.places.clients),
            duration: WARM_UP + self.bench.duration + SPARE,
            source_port: SOURCE_PORT,
            target_mac: Some(ground.host("balancer").run(|| Link::find(INTERFACE))??.mac),
            ..FloodOptions::new(INTERFACE, service(), self.kind())
        };
        let flood = ground.host("client").run(|| Flood::start(&options))??;
        wait(WARM_UP, self.interrupted)?;
        let count = || sink.count().map_err(ContenderError::from);
        let (begun, sent, arrived) = (Instant::now(), flood.counts()?.sent, count()?);
        wait(self.bench.duration, self.interrupted)?;
        let (span, sent, arrived) = (begun.elapsed().as_secs_f64(), flood.counts()?.sent - sent, count()? - arrived);
        flood.stop();
        flood.finish()?;
        balancing.stop()?;
        let mut metrics = Metrics::default();
        metrics.set("offered_packets_per_second", sent as f64 / span);
        metrics.set("packets_per_second", arrived as f64 / span);
        Ok(metrics.into())
    }
}

fn redirect(ground: &Ground) -> Result<Redirector, BenchError> {
    let attach = || {
        let mut redirector = Redirector::load(Link::find(BACK)?.index)?;
        redirector.attach(INTERFACE, Link::find(INTERFACE)?.index, Require::Nothing)?;
        Ok::<_, ContenderError>(redirector)
    };
    Ok(ground.host("balancer").run(attach)??)
}

fn end_frames(ground: &Ground) -> Result<Sink, BenchError> {
    let attach = || {
        let mut sink = Sink::load()?;
        sink.attach(BACK, Link::find(BACK)?.index, Require::Nothing)?;
        Ok::<_, ContenderError>(sink)
    };
    Ok(ground.host("client").run(attach)??)
}
