//! Reading and writing by async streams allocate nothing once a connection is under way.

#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, allocations};
use std::{cell::Cell, rc::Rc, time::Duration};
use xskip::{
    Application, Context,
    aio::{self, Aio, TcpListener, TcpStream},
    config::StackConfig,
    stack::{LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{InterfaceId, MacAddress},
    worker::WorkerIndex,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn stack(host: u8) -> Stack {
    let cidr = format!("198.18.0.{host}/24").parse().unwrap();
    let own = LocalAddress { cidr, ownership: Ownership::Own };
    Stack::new(StackConfig::default(), MacAddress([2, 0, 0, 0, 0, host]), [own].into(), Secrets::from_seed(host.into()))
}

/// One turn of each, as a worker's, and what they send is delivered.
fn turn(now: Instant, hosts: &mut [(Stack, Aio); 2], buffer: &mut [u8]) {
    for from in 0..2 {
        let (stack, aio) = &mut hosts[from];
        stack.handle_timeout(now);
        let cx = &mut Context::new(now, stack, WorkerIndex::ONLY);
        while let Some(event) = cx.stack().poll_event() {
            aio.event(event, cx);
        }
        aio.on_turn(cx);
        while let Some(length) = hosts[from].0.poll_transmit(now, InterfaceId::FIRST, buffer) {
            hosts[1 - from].0.handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
        }
    }
}

#[test]
fn a_steady_conversation_allocates_nothing() {
    let mut now = Instant::from_millis(1_000);
    let (mut server, mut client) = (stack(1), stack(2));
    let rounds = Rc::new(Cell::new(0));
    let counted = rounds.clone();
    let serves = Aio::new(&mut Context::new(now, &mut server, WorkerIndex::ONLY), || async {
        let (mut stream, _) = TcpListener::bind(80)?.accept().await?;
        let mut buffer = [0; 4_000];
        loop {
            let length = stream.read(&mut buffer).await?;
            stream.write_all(&buffer[..length]).await?;
            if length == 0 {
                return Ok::<_, std::io::Error>(());
            }
        }
    });
    let asks = Aio::new(&mut Context::new(now, &mut client, WorkerIndex::ONLY), move || async move {
        let mut stream = TcpStream::connect(([198, 18, 0, 1], 80).into()).await?;
        let mut buffer = [7; 3_000];
        loop {
            // With a time limit, as a server has: a timer is set and given up each time.
            aio::timeout(Duration::from_secs(5), stream.write_all(&buffer)).await??;
            let mut read = 0;
            while read < buffer.len() {
                read += aio::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await??;
            }
            counted.set(counted.get() + 1);
            if read == 0 {
                return Ok::<_, std::io::Error>(());
            }
        }
    });
    let mut hosts = [(server, serves), (client, asks)];
    let mut buffer = vec![0; 1_600];
    let mut until = |least: u32| {
        for _ in 0..100_000 {
            if rounds.get() >= least {
                return;
            }
            turn(now, &mut hosts, &mut buffer);
            now += Duration::from_micros(20);
        }
        panic!("{} rounds", rounds.get());
    };
    until(2_000);
    let before = allocations();
    until(4_000);
    assert_eq!(allocations() - before, 0);
}
