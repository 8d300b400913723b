//! A way of one's own to divide rows among backends: `cargo run -p xskip-core --example placement`
use std::{net::SocketAddr, sync::Arc};
use xskip_core::{lb::*, rng::SipKey, time::Instant, wire::*};

/// Everybody is served from rack `a`, as long as there is anybody in it.
#[derive(Debug)]
struct RackFirst(Maglev);

impl Placement for RackFirst {
    fn place(&self, backends: &[Candidate<'_>], rows: &mut [u16]) {
        let near: Vec<usize> = (0..backends.len()).filter(|&index| backends[index].name.starts_with("a-")).collect();
        if near.is_empty() {
            return self.0.place(backends, rows);
        }
        self.0.place(&near.iter().map(|&index| backends[index]).collect::<Vec<_>>(), rows);
        rows.iter_mut().for_each(|row| *row = near[usize::from(*row)] as u16);
    }
}

/// Serves from both racks, and from the other one when the first has gone.
pub fn main() {
    let end = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("an address"));
    let key = RowKey::new(SipKey::from_seed(1));
    let web = Service::tcp("web", end("198.18.0.80:443"), Arc::new(RackFirst(Maglev::new(key.of_placement()))));
    let racks = [Backend::new("a-1", end("198.18.1.1:443")), Backend::new("b-1", end("198.18.2.1:443"))];
    let (mut balancer, now) = (Balancer::new(key, Limits::default()), Instant::ZERO);
    let tuple = FourTuple { local: end("198.18.0.80:443"), remote: end("203.0.113.9:40000") };
    let flow = Flow { transport: Transport::Tcp, tuple };
    for (there, expected) in [(&racks[..], "a-1"), (&racks[1..], "b-1")] {
        let plan = balancer.plan([web.clone().with(there.to_vec())], now).expect("a good configuration");
        print!("{plan}");
        balancer.apply(&plan, now).expect("the only plan");
        let decision = balancer.decide(&flow, Kind::Syn(SeqNumber::new(7)), now);
        assert_eq!(decision.backend().and_then(|backend| balancer.name(backend)), Some(expected));
        print!("{}", balancer.explain(&flow, now));
    }
}
