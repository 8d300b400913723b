//! Balances a service: `cargo run --example balancer -- veth0 198.18.0.80:80 198.18.0.11:80 198.18.0.12:80`. What is known
//! of health comes by a channel: here from a thread that connects to each backend's own address once a second.
use std::{error::Error, net::SocketAddr, net::TcpStream, sync::Arc, sync::mpsc, thread, time::Duration};
use xskip::{Balancing, LoadBalancer, lb::*, rng::SipKey, runtime::StopSignals};

/// Starts it; `secret` is what all balancers of a fleet have in common.
pub fn start(interface: &str, ends: &[SocketAddr], secret: SipKey) -> Result<Balancing, Box<dyn Error>> {
    let (vip, backends) = ends.split_first().ok_or("the address of the service, and backends")?;
    let key = RowKey::new(secret);
    let maglev = Arc::new(Maglev::new(key.of_placement()));
    let backends = backends.iter().map(|&end| Backend::new(end.to_string(), end));
    let balancing = LoadBalancer::on(interface, key).start([Service::tcp("web", *vip, maglev).with(backends)])?;
    let known = balancing.with_tables(|tables| {
        let web = tables.service("web").into_iter().flat_map(|web| tables.backends(web));
        web.map(|(id, backend)| (id, SocketAddr::from(backend.address))).collect::<Vec<_>>()
    });
    let (tell, told) = mpsc::channel();
    balancing.hear_of_health(told);
    let check = move |(id, end): &(BackendId, SocketAddr)| {
        let answers = TcpStream::connect_timeout(end, Duration::from_secs(1)).is_ok();
        tell.send((*id, if answers { Health::Up } else { Health::Down }))
    };
    thread::spawn(move || {
        while known.iter().try_for_each(&check).is_ok() {
            thread::sleep(Duration::from_secs(1));
        }
    });
    Ok(balancing)
}

fn main() -> Result<(), Box<dyn Error>> {
    let ends = std::env::args().skip(2).map(|end| end.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let signals = StopSignals::catch()?;
    let balancing = start(&std::env::args().nth(1).ok_or("an interface")?, &ends, SipKey::random()?)?;
    balancing.linger(signals);
    print!("{}", balancing.status()?);
    Ok(balancing.stop().map(drop)?)
}
