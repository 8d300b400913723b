//! Health that one knows by oneself: `cargo run -p xskip-core --example health`
use std::{net::SocketAddr, sync::Arc, time::Duration};
use xskip_core::{lb::*, rng::SipKey, time::Instant, wire::*};

/// A backend is down for five minutes every hour, for maintenance.
struct Maintenance(BackendId, Health);

impl HealthSource for Maintenance {
    fn poll(&mut self, now: Instant) -> Option<(BackendId, Health)> {
        let is_down = now.as_millis() % 3_600_000 < 300_000;
        let health = if is_down { Health::Down } else { Health::Up };
        let is_news = std::mem::replace(&mut self.1, health) != health;
        is_news.then_some((self.0, health))
    }
}

/// New flows avoid the one, and those that began there stay.
pub fn main() {
    let end = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("an address"));
    let (key, vip) = (RowKey::new(SipKey::from_seed(1)), end("198.18.0.80:443"));
    let backends = ["198.18.1.1:443", "198.18.1.2:443"].map(|address| Backend::new(address, end(address)));
    let web = Service::tcp("web", vip, Arc::new(Maglev::new(key.of_placement()))).with(backends);
    let (mut balancer, mut now) = (Balancer::new(key, Limits::default()), Instant::from_millis(3_500_000));
    let plan = balancer.plan([web], now).expect("a good configuration");
    balancer.apply(&plan, now).expect("the only plan");
    let flow = |port| FourTuple { local: vip, remote: Endpoint { port, ..end("203.0.113.9:0") } };
    let flow = |port| Flow { transport: Transport::Tcp, tuple: flow(port) };
    let first = balancer.decide(&flow(1), Kind::Syn(SeqNumber::new(7)), now).backend().expect("one of them");
    let mut health = Maintenance(first, Health::Unknown);
    balancer.hear_of_health(&mut health, now);
    now += Duration::from_secs(100);
    assert_eq!(balancer.hear_of_health(&mut health, now), 1);
    let new = |port| balancer.decide(&flow(port), Kind::Syn(SeqNumber::new(7)), now).backend();
    assert!((2..100).map(new).all(|backend| backend.is_some() && backend != Some(first)));
    assert_eq!(balancer.decide(&flow(1), Kind::Segment(SeqNumber::new(8)), now).backend(), Some(first));
}
