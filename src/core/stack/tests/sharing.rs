//! Several stacks behind one link: a connection that one of them opens comes back to it.

use super::*;
use crate::wire::ReceiveScaling;

const WORKERS: u32 = 4;

/// Connects from `stack` and gives back the 4-tuples of the connections.
fn opened(bench: &mut Bench) -> Vec<FourTuple> {
    let remote = Endpoint { address: bench.theirs, port: 7 };
    let ids: Vec<_> = (0..50).map(|_| bench.stack.connect(bench.now, remote, None).expect("there is a way")).collect();
    let tuple = |id| {
        let stream = bench.stack.stream(bench.now, id).expect("it is being opened");
        FourTuple { local: stream.local_addr().into(), remote: stream.peer_addr().into() }
    };
    ids.into_iter().map(tuple).collect()
}

#[test]
fn a_connection_we_open_comes_back_on_the_queue_that_the_nic_picks() {
    let key = (0..40).map(|byte: u8| byte.wrapping_mul(151) ^ 0x6d).collect::<Vec<_>>();
    let table = (0..128).map(|entry| entry * 7 % WORKERS).collect();
    let scaling = ReceiveScaling::new(key, table).unwrap();
    for queue in 0..WORKERS {
        for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
            bench.stack.set_receive_scaling(queue, scaling.clone());
            for tuple in opened(&mut bench) {
                assert_eq!(scaling.queue_of(&tuple), queue, "{tuple}");
            }
        }
    }
}

#[test]
fn where_a_hash_of_ours_decides_it_names_the_one_who_opened() {
    for ours in 0..WORKERS as usize {
        let mut bench = Bench::new();
        bench.stack.set_share(ours, WORKERS as usize);
        for tuple in opened(&mut bench) {
            assert_eq!(Secrets::worker_of(bench.stack.secrets.hash_flow(&tuple), WORKERS as usize), ours, "{tuple}");
        }
    }
}

#[test]
fn a_queue_that_the_nic_never_picks_opens_nothing() {
    let scaling = ReceiveScaling::new(vec![0; 40], vec![0, 1]).unwrap();
    let mut bench = Bench::new();
    bench.stack.set_receive_scaling(1, scaling);
    let remote = Endpoint { address: bench.theirs, port: 7 };
    let refused = bench.stack.connect(bench.now, remote, None);
    assert_eq!(refused, Err(crate::stack::ConnectError::NoPortLeft(remote)), "the hash of a zero key is always zero");
}
