//! Services between two stacks in memory, in virtual time: what they are told, and what becomes of one that panics.

use super::{ByPort, Datagram, Origin, Service, Services};
use crate::{
    config::StackConfig,
    stack::{ConnectionId, Event, LocalAddress, Ownership, Secrets, Stack},
    tcp::CloseReason,
    time::Instant,
    wire::{InterfaceId, MacAddress},
    worker::{Application, Context, WorkerIndex},
};
use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

/// What happened, in the words of whoever saw it. It is not `Send`, and so is nobody who has it.
type Story = Rc<RefCell<Vec<String>>>;

/// A client at 198.18.0.2, and a server with an application at 198.18.0.1.
struct Pair<A> {
    client: Stack,
    server: Stack,
    application: A,
    now: Instant,
    /// What the client's stack has told.
    heard: Vec<Event>,
}

fn stack(host: u8) -> Stack {
    let cidr = format!("198.18.0.{host}/24").parse().unwrap();
    let addresses = vec![LocalAddress { cidr, ownership: Ownership::Own }];
    Stack::new(StackConfig::default(), MacAddress([2, 0, 0, 0, 0, host]), addresses, Secrets::from_seed(host.into()))
}

impl<A: Application> Pair<A> {
    fn new(ports: &[u16], make: impl FnOnce(&mut Context<'_>) -> A) -> Self {
        let (client, mut server, now) = (stack(2), stack(1), Instant::from_millis(1_000));
        for &port in ports {
            server.listen(None, port).unwrap();
        }
        let application = make(&mut Context::new(now, &mut server, WorkerIndex::ONLY));
        Self { client, server, application, now, heard: Vec::new() }
    }

    /// Lets everything happen that happens at once.
    fn run(&mut self) {
        let mut buffer = [0; 1_600];
        for _ in 0..1_000 {
            let mut is_quiet = true;
            self.server.handle_timeout(self.now);
            let cx = &mut Context::new(self.now, &mut self.server, WorkerIndex::ONLY);
            while let Some(event) = cx.stack().poll_event() {
                self.application.event(event, cx);
            }
            self.application.on_turn(cx);
            self.client.handle_timeout(self.now);
            self.heard.extend(std::iter::from_fn(|| self.client.poll_event()));
            while let Some(length) = self.server.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
                self.client.handle_frame(self.now, InterfaceId::FIRST, &buffer[..length]);
                is_quiet = false;
            }
            while let Some(length) = self.client.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
                self.server.handle_frame(self.now, InterfaceId::FIRST, &buffer[..length]);
                is_quiet = false;
            }
            if is_quiet {
                return;
            }
            self.now += Duration::from_micros(10);
        }
        panic!("nobody comes to rest");
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.run();
    }

    fn connect(&mut self, port: u16) -> ConnectionId {
        let remote: SocketAddr = ([198, 18, 0, 1], port).into();
        let id = self.client.connect(self.now, remote.into(), None).unwrap();
        self.run();
        id
    }

    fn say(&mut self, id: ConnectionId, words: &[u8]) -> String {
        self.client.stream(self.now, id).unwrap().write(words);
        self.run();
        let mut buffer = [0; 100];
        let length = self.client.stream(self.now, id).map_or(0, |mut stream| stream.read(&mut buffer));
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

/// Echoes, notes what it is told, and panics where it is told to.
struct Teller {
    name: &'static str,
    story: Story,
}

impl Teller {
    fn note(&self, what: impl std::fmt::Display) {
        self.story.borrow_mut().push(format!("{} {what}", self.name));
    }
}

impl Service for Teller {
    type Session = Rc<()>;

    fn open(&mut self, _: ConnectionId, origin: Origin, _: &mut Context<'_>) -> Rc<()> {
        self.note(if origin == Origin::Connected { "connected" } else { "accepted" });
        Rc::new(())
    }

    fn ready(&mut self, _: &mut Rc<()>, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(id) else { return };
        if stream.readable() == b"boom" {
            stream.write(b"never sent");
            panic!("as it was told");
        }
        stream.echo();
        if stream.at_end() {
            self.note("sees the end");
            stream.close();
        }
    }

    fn draining(&mut self, _: &mut Context<'_>) {
        self.note("draining");
    }

    fn drain(&mut self, _: &mut Rc<()>, id: ConnectionId, cx: &mut Context<'_>) {
        self.note("drain");
        cx.stream(id).unwrap().close_discarding();
    }

    fn failed(&mut self, id: ConnectionId, reason: CloseReason, _: &mut Context<'_>) {
        self.note(format_args!("failed {} {reason:?}", id.index()));
    }

    fn timer(&mut self, token: u64, cx: &mut Context<'_>) {
        match token {
            13 => panic!("as it was told"),
            443 => {
                let id = cx.connect(([198, 18, 0, 2], 443).into()).unwrap();
                self.note(format_args!("begins {}", id.index()));
            }
            token => self.note(format_args!("timer {token}")),
        }
    }

    fn datagram(&mut self, datagram: &Datagram<'_>, answer: &mut Vec<u8>, _: &mut Context<'_>) -> bool {
        let (peer, local) = (datagram.peer_addr, datagram.local_addr);
        self.note(format_args!("datagram {} from {} at {local}", datagram.data.len(), peer.ip()));
        answer.extend_from_slice(datagram.data);
        true
    }

    fn closed(&mut self, _: Rc<()>, _: ConnectionId, reason: CloseReason, _: &mut Context<'_>) {
        self.note(format_args!("closed {reason:?}"));
    }
}

fn teller(name: &'static str) -> (Teller, Story) {
    let story = Story::default();
    (Teller { name, story: story.clone() }, story)
}

#[test]
fn a_service_is_told_of_a_connections_life_in_order() {
    let (service, story) = teller("a");
    let mut pair = Pair::new(&[7], |_| Services::new(service));
    let id = pair.connect(7);
    assert_eq!(pair.say(id, b"hello"), "hello");
    pair.client.stream(pair.now, id).unwrap().shutdown_write();
    pair.run();
    assert_eq!(*story.borrow(), ["a accepted", "a sees the end", "a closed Finished"]);
}

#[test]
fn a_panic_ends_the_connection_it_was_for_and_no_other() {
    let (service, story) = teller("a");
    let mut pair = Pair::new(&[7], |_| Services::new(service));
    let [good, bad] = [pair.connect(7), pair.connect(7)];
    assert_eq!(pair.say(bad, b"boom"), "");
    assert!(pair.heard.contains(&Event::Closed(bad, CloseReason::ResetByPeer)), "{:?}", pair.heard);
    assert_eq!(pair.say(good, b"hello"), "hello");
    let third = pair.connect(7);
    assert_eq!(pair.say(third, b"hello"), "hello");
    let stats = pair.server.stats();
    assert_eq!((stats.application_panics, stats.connections_aborted), (1, 1));
    assert_eq!(*story.borrow(), ["a accepted"; 3], "its session is dropped, not told");
}

#[test]
fn a_panic_outside_of_any_connection_is_counted_and_harms_none() {
    let (service, _) = teller("a");
    let mut pair = Pair::new(&[7], |cx| {
        cx.timer(cx.now() + Duration::from_millis(5), 13).unwrap();
        Services::new(service)
    });
    let id = pair.connect(7);
    pair.pass(Duration::from_millis(6));
    assert_eq!(pair.server.stats().application_panics, 1);
    assert_eq!(pair.say(id, b"hello"), "hello");
}

#[test]
fn a_service_hears_which_of_its_connections_could_not_be_opened() {
    let (service, story) = teller("a");
    let mut pair = Pair::new(&[7], |cx| {
        cx.timer(cx.now(), 443).unwrap();
        Services::new(service)
    });
    pair.pass(Duration::from_millis(2));
    assert_eq!(*story.borrow(), ["a begins 0", "a failed 0 Refused"]);
    pair.client.listen(None, 443).unwrap();
    let cx = &mut Context::new(pair.now, &mut pair.server, WorkerIndex::ONLY);
    cx.timer(cx.now(), 443).unwrap();
    pair.pass(Duration::from_millis(2));
    assert_eq!(story.borrow()[2..], ["a begins 0", "a connected"]);
}

#[test]
fn services_are_told_once_that_the_server_is_to_end_and_each_connection_then() {
    let (service, story) = teller("a");
    let mut pair = Pair::new(&[7], |_| Services::new(service));
    for _ in 0..300 {
        pair.connect(7);
    }
    story.borrow_mut().clear();
    pair.application.draining(&mut Context::new(pair.now, &mut pair.server, WorkerIndex::ONLY));
    pair.run();
    let story = story.borrow();
    let count = |what: &str| story.iter().filter(|told| *told == what).count();
    assert_eq!((story[0].as_str(), count("a draining"), count("a drain")), ("a draining", 1, 300));
    assert!(pair.server.has_said_all());
}

#[test]
fn each_port_has_its_own_service_which_gets_what_it_has_begun() {
    let ((first, one), (second, two)) = (teller("one"), teller("two"));
    let mut pair = Pair::new(&[7, 8, 9], |cx| {
        for port in [7, 53] {
            cx.bind_udp(None, port).unwrap();
        }
        ByPort::new().service([7, 53], first).service([8], second)
    });
    pair.client.listen(None, 443).unwrap();
    let [id, other, nobodys] = [pair.connect(7), pair.connect(8), pair.connect(9)];
    assert_eq!((pair.say(id, b"hello"), pair.say(other, b"there")), ("hello".to_owned(), "there".to_owned()));
    assert!(pair.heard.contains(&Event::Closed(nobodys, CloseReason::ResetByPeer)), "nobody has that port");
    let socket = pair.client.bind_udp(None, 5_000).unwrap();
    let remote: SocketAddr = "198.18.0.1:53".parse().unwrap();
    pair.client.udp(pair.now, socket).send_to(b"question", remote).unwrap();
    pair.run();
    let mut answer = Vec::new();
    assert_eq!(pair.client.udp(pair.now, socket).receive(&mut answer).unwrap().1, remote);
    assert_eq!(answer, b"question");
    assert_eq!(*one.borrow(), ["one accepted", "one datagram 8 from 198.18.0.2 at 198.18.0.1:53"]);
    assert_eq!(*two.borrow(), ["two accepted"]);
}

/// Begins things when it is told something, each with the number of its service.
struct Beginner(Teller, u64);

impl Application for Beginner {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Accepted(..) => {
                cx.timer(cx.now() + Duration::from_millis(1), self.1).unwrap();
                cx.connect(([198, 18, 0, 2], 443).into()).unwrap();
                cx.bind_udp(None, 1_000 + self.1 as u16).unwrap();
            }
            Event::Timer(_, token) => self.0.note(format_args!("timer {token}")),
            Event::Connected(_) => self.0.note("connected"),
            Event::Datagram(_) => self.0.note("datagram"),
            _ => {}
        }
    }
}

#[test]
fn what_an_application_begins_is_told_to_it_and_to_no_other() {
    let ((first, one), (second, two)) = (teller("one"), teller("two"));
    let mut pair = Pair::new(&[7, 8], |_| {
        ByPort::new().application([7], Beginner(first, 1)).application([8], Beginner(second, 2))
    });
    pair.client.listen(None, 443).unwrap();
    pair.connect(8);
    pair.pass(Duration::from_millis(2));
    let socket = pair.client.bind_udp(None, 5_000).unwrap();
    pair.client.udp(pair.now, socket).send_to(b"?", "198.18.0.1:1002".parse().unwrap()).unwrap();
    pair.run();
    assert_eq!(
        (one.borrow().len(), two.borrow().clone()),
        (0, ["two connected", "two timer 2", "two datagram"].map(str::to_owned).to_vec())
    );
}

#[test]
#[should_panic(expected = "port 7 has two services; give each port to one of them")]
fn a_port_with_two_services_is_a_mistake_that_is_said() {
    let _ = ByPort::new().service([7], super::Echo).service([8, 7], super::Discard);
}
