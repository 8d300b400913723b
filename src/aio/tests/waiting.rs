//! Time, and datagrams.

use super::*;
use std::{cell::Cell, pin::pin};

#[test]
fn sleeps_end_in_order_and_not_too_early() {
    let mut world = World::new();
    let order = world.play(async {}, async {
        let began = now();
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = [30, 10, 20, 0, 86_400_000]
            .into_iter()
            .map(|millis| {
                let order = order.clone();
                spawn_local(async move {
                    sleep(Duration::from_millis(millis)).await;
                    assert!(now() - began >= Duration::from_millis(millis));
                    order.borrow_mut().push(millis);
                })
            })
            .collect();
        sleep_until(began + Duration::from_millis(100)).await;
        drop(tasks);
        order.take()
    });
    assert_eq!(order, [0, 10, 20, 30]);
}

#[test]
fn a_timer_is_moved_and_forgotten() {
    let mut world = World::new();
    world.play(async {}, async {
        let began = now();
        let mut timer = pin!(sleep(Duration::from_millis(10)));
        assert!(poll_once(timer.as_mut()).await.is_none());
        timer.reset(began + Duration::from_millis(50));
        assert_eq!(timer.deadline(), began + Duration::from_millis(50));
        timer.as_mut().await;
        assert!(now() - began >= Duration::from_millis(50));
        let _ = poll_once(sleep(Duration::from_secs(5))).await;
        assert!(poll_once(sleep_until(Instant::NEVER)).await.is_none());
    });
    assert_eq!(world.host(CLIENT).due, None);
}

#[test]
fn a_timeout_drops_what_takes_too_long() {
    let mut world = World::new();
    world.play(async {}, async {
        assert_eq!(timeout(Duration::from_secs(1), async { 3 }).await, Ok(3));
        let elapsed = timeout(Duration::from_secs(1), std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(io::Error::from(elapsed).kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn an_interval_ticks_and_makes_up_for_what_was_missed_once() {
    let mut world = World::new();
    world.play(async {}, async {
        let began = now();
        let mut ticks = interval(Duration::from_millis(100));
        for number in 0..3 {
            let due = ticks.tick().await;
            assert_eq!(due, began + Duration::from_millis(100) * number);
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(ticks.tick().await, began + Duration::from_millis(300));
        assert!(ticks.tick().await > began + Duration::from_millis(1_200));
    });
}

#[test]
fn hyper_is_told_the_time_by_the_worker() {
    use hyper::rt::Timer;
    let mut world = World::new();
    world.play(async {}, async {
        let began = now();
        HyperTimer.sleep(Duration::from_millis(20)).await;
        assert!(now() - began >= Duration::from_millis(20));
        let mut timer = HyperTimer.sleep(Duration::from_secs(3_600));
        HyperTimer.reset(&mut timer, std::time::Instant::now());
        timer.await;
        assert!(now() - began < Duration::from_secs(60));
        hyper::rt::Executor::execute(&HyperExecutor, async {});
    });
}

#[test]
fn datagrams_are_answered_by_both_ip_versions() {
    let mut world = World::new();
    let server = async {
        let socket = UdpSocket::bind(53).unwrap();
        assert_eq!(UdpSocket::bind(53).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(socket.local_addr(), 53.into());
        let mut data = Vec::new();
        loop {
            let (local, peer) = socket.recv(&mut data).await.unwrap();
            socket.send_from(local.ip(), &data, peer).await.unwrap();
        }
    };
    world.play(server, async {
        for address in addresses(SERVER) {
            let socket = UdpSocket::bind(5_300).unwrap();
            let server = SocketAddr::from((address, 53));
            let mut buffer = [0; 4];
            // Given up, it loses none.
            assert!(poll_once(socket.recv_from(&mut buffer)).await.is_none());
            for word in [&b"one"[..], b"three"] {
                socket.send_to(word, server).await.unwrap();
            }
            assert_eq!(socket.recv_from(&mut buffer).await.unwrap(), (3, server));
            assert_eq!(socket.recv_from(&mut buffer).await.unwrap(), (4, server));
            assert_eq!(&buffer, b"thre");
            let nowhere = socket.send_to(b"x", (address, 0).into()).await;
            assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_datagram_socket_of_the_start_is_taken_over() {
    let mut world = World::new();
    world.host(SERVER).stack.bind_udp(None, 53).unwrap();
    let heard = Rc::new(Cell::new(0));
    let hears = heard.clone();
    let server = async move {
        sleep(Duration::from_secs(1)).await;
        let socket = UdpSocket::bind(53).unwrap();
        hears.set(socket.recv_from(&mut [0; 9]).await.unwrap().0);
    };
    world.play(server, async {
        let socket = UdpSocket::bind(5_300).unwrap();
        socket.send_to(b"early", (addresses(SERVER)[0], 53).into()).await.unwrap();
        sleep(Duration::from_secs(2)).await;
    });
    assert_eq!(heard.get(), 5);
}

#[test]
fn whoever_sends_more_datagrams_than_there_is_room_for_waits() {
    const MANY: u64 = 5_000;
    let mut world = World::new();
    let config = StackConfig::default();
    assert!(MANY as usize > config.max_replies + config.max_waiting_datagrams);
    world.host(SERVER).stack.bind_udp(None, 9).unwrap();
    let began = world.now;
    let waited = world.play(async {}, async move {
        let socket = Rc::new(UdpSocket::bind(5_300).unwrap());
        for address in addresses(SERVER) {
            // Its station is not known yet, and the room for what waits for that is the first to be used up.
            let mut sent = 0;
            while socket.try_send_to(b"word", (address, 9).into()).is_ok() {
                sent += 1;
            }
            assert_eq!(sent, StackConfig::default().max_waiting_datagrams, "{address}");
            let mut given_up = pin!(socket.send_to(b"never", (address, 9).into()));
            assert!(poll_once(given_up.as_mut()).await.is_none());
            let others = spawn_local({
                let socket = socket.clone();
                async move {
                    for _ in 0..MANY {
                        socket
                            .send_from(addresses(CLIENT)[usize::from(address.is_ipv6())], b"other", (address, 9).into())
                            .await
                            .unwrap();
                    }
                }
            });
            for _ in 0..MANY {
                socket.send_to(b"word", (address, 9).into()).await.unwrap();
            }
            others.await.unwrap();
        }
        now() - began
    });
    let sent = 4 * MANY + 2 * config.max_waiting_datagrams as u64;
    assert_eq!(world.host(CLIENT).stack.stats().datagrams_transmitted, sent);
    assert!(waited < Duration::from_secs(1), "{waited:?}: nobody waits for longer than it takes");
}

#[test]
fn a_sender_without_room_does_not_keep_its_worker_awake() {
    let mut world = World::new();
    world.start(CLIENT, async {
        let socket = UdpSocket::bind(5_300).unwrap();
        for _ in 0..100 {
            // Nobody says where this is.
            socket.send_to(b"word", "198.18.0.77:9".parse().unwrap()).await.unwrap();
        }
    });
    world.run();
    let polls = world.stats(CLIENT).polls;
    world.pass(Duration::from_millis(100));
    assert!(world.stats(CLIENT).polls - polls <= 210, "{} polls", world.stats(CLIENT).polls - polls);
}
