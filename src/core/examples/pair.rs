//! Two stacks that talk in memory: `cargo run -p xskip-core --example pair`
use xskip_core::{Event, Stack, config::StackConfig, stack::*, time::Instant, wire::*};

fn stack(host: u8) -> Stack {
    let cidr = format!("192.0.2.{host}/24").parse().expect("an address");
    let addresses = vec![LocalAddress { cidr, ownership: Ownership::Own }];
    Stack::new(StackConfig::default(), MacAddress([2, 0, 0, 0, 0, host]), addresses, Secrets::from_seed(host.into()))
}

/// Says hello from one to the other.
pub fn main() {
    let (now, mut from, mut to) = (Instant::from_millis(1), stack(2), stack(1));
    let (mut buffer, mut heard) = ([0; 1_600], None);
    to.listen(None, 7).expect("a free port");
    from.connect(now, "192.0.2.1:7".parse::<std::net::SocketAddr>().expect("an address").into(), None).expect("a way");
    while heard.is_none() {
        while let Some(length) = from.poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
            to.handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
        }
        while let Some(event) = to.poll_event() {
            match event {
                Event::Connected(id) => _ = to.stream(now, id).expect("open").write(b"hello"),
                Event::Ready(id) => heard = Some(to.stream(now, id).expect("open").readable_pieces().concat()),
                _ => {}
            }
        }
        std::mem::swap(&mut from, &mut to);
    }
    assert_eq!(heard.as_deref(), Some(&b"hello"[..]));
}
