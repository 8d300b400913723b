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
            socket.send_from(local.ip(), &data, peer).unwrap();
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
                socket.send_to(word, server).unwrap();
            }
            assert_eq!(socket.recv_from(&mut buffer).await.unwrap(), (3, server));
            assert_eq!(socket.recv_from(&mut buffer).await.unwrap(), (4, server));
            assert_eq!(&buffer, b"thre");
            assert_eq!(socket.send_to(b"x", (address, 0).into()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
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
        socket.send_to(b"early", (addresses(SERVER)[0], 53).into()).unwrap();
        sleep(Duration::from_secs(2)).await;
    });
    assert_eq!(heard.get(), 5);
}
