//! What the log has of connections, and what it costs where nobody has asked for that.

use super::{Context, WorkerIndex};
use crate::{
    config::StackConfig,
    stack::{Cidr, Event, LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{InterfaceId, MacAddress},
    worker::{
        Application,
        spans::{Spans, TARGET},
    },
};
use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing::{
    Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Writes down what it is told of, as `span{fields}: event`.
#[derive(Clone)]
struct Log {
    level: Level,
    lines: Arc<Mutex<Vec<String>>>,
    names: Arc<Mutex<Vec<String>>>,
    entered: Arc<Mutex<Vec<u64>>>,
}

impl Log {
    fn new(level: Level) -> Self {
        Self { level, lines: Arc::default(), names: Arc::default(), entered: Arc::default() }
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET && *metadata.level() <= self.level
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut name = attributes.metadata().name().to_owned();
        attributes.record(&mut Fields(&mut name));
        let mut names = self.names.lock().unwrap();
        names.push(name);
        span::Id::from_u64(names.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let names = self.names.lock().unwrap();
        let mut line = self.entered.lock().unwrap().last().map_or("", |&id| &names[id as usize - 1]).to_owned();
        line.push(':');
        event.record(&mut Fields(&mut line));
        self.lines.lock().unwrap().push(line);
    }

    fn enter(&self, span: &span::Id) {
        self.entered.lock().unwrap().push(span.into_u64());
    }

    fn exit(&self, _: &span::Id) {
        self.entered.lock().unwrap().pop();
    }
}

/// Closes what its peer has closed, and says so.
struct Closes;

impl Application for Closes {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        if let Event::Ready(id) = event
            && let Some(mut stream) = cx.stream(id)
            && stream.at_end()
        {
            tracing::debug!(target: TARGET, "as its peer did");
            stream.close();
        }
    }
}

/// Two stacks on one wire, of which one opens a connection to the other and closes it; what the log has of both.
fn log_of_a_connection(level: Level, addresses: [&str; 2]) -> Vec<String> {
    let macs = [MacAddress([2, 0, 0, 0, 0, 1]), MacAddress([2, 0, 0, 0, 0, 2])];
    let stack = |index: usize| {
        let cidr = addresses[index].parse::<Cidr>().unwrap();
        let own = LocalAddress { cidr, ownership: Ownership::Own };
        Stack::new(StackConfig::default(), macs[index], vec![own], Secrets::from_seed(index as u64))
    };
    let mut stacks = [stack(0), stack(1)];
    let address = |index: usize| addresses[index].split('/').next().unwrap().parse::<std::net::IpAddr>().unwrap();
    stacks[0].listen(None, 7).unwrap();
    let mut now = Instant::ZERO + Duration::from_secs(1);
    let id = stacks[1].connect(now, std::net::SocketAddr::new(address(0), 7).into(), None).unwrap();
    let log = Log::new(level);
    let guard = tracing::subscriber::set_default(log.clone());
    let mut spans = [Spans::default(), Spans::default()];
    for turn in 0..60 {
        now += Duration::from_millis(100);
        for at in [0, 1] {
            let mut buffer = [0; 2_048];
            while let Some(length) = stacks[at].poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
                stacks[1 - at].handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
            }
        }
        for (at, spans) in spans.iter_mut().enumerate() {
            stacks[at].handle_timeout(now);
            let index = WorkerIndex { number: at, workers: 2 };
            let mut cx = Context::new(now, &mut stacks[at], index);
            assert_eq!(spans.are_wanted(), level == Level::DEBUG);
            if spans.are_wanted() {
                spans.deliver(&mut cx, &mut Closes);
            } else {
                while let Some(event) = cx.stack().poll_event() {
                    Closes.event(event, &mut cx);
                }
            }
        }
        if turn == 30
            && let Some(mut stream) = stacks[1].stream(now, id)
        {
            stream.close();
        }
    }
    drop(guard);
    std::mem::take(&mut *log.lines.lock().unwrap())
}

#[test]
fn each_connection_has_a_span_from_its_opening_to_the_reason_of_its_end() {
    for (addresses, [server, client]) in [
        (["198.18.0.1/24", "198.18.0.2/24"], ["198.18.0.1:7", "198.18.0.2:"]),
        (["2001:2::1/64", "2001:2::2/64"], ["[2001:2::1]:7", "[2001:2::2]:"]),
    ] {
        let lines = log_of_a_connection(Level::DEBUG, addresses);
        let of = |worker: usize| -> Vec<&String> {
            lines.iter().filter(|line| line.contains(&format!(" worker={worker}:"))).collect()
        };
        let (accepted, connected) = (of(0), of(1));
        assert_eq!((accepted.len(), connected.len(), lines.len()), (3, 2, 5), "{lines:#?}");
        assert!(accepted.iter().all(|line| line.starts_with(&format!("connection peer={client}"))), "{lines:#?}");
        assert!(accepted[0].contains(&format!("local={server} ")) && accepted[0].ends_with(": accepted"), "{lines:#?}");
        assert!(accepted[1].ends_with(": as its peer did"), "what an application says is within: {lines:#?}");
        assert!(accepted[2].ends_with("closed reason=closed in order by both sides"), "{lines:#?}");
        assert!(connected[0].starts_with(&format!("connection peer={server} local={client}")), "{lines:#?}");
        assert!(connected[1].contains("closed"), "{lines:#?}");
    }
}

#[test]
fn nothing_is_kept_where_nobody_has_asked() {
    assert_eq!(log_of_a_connection(Level::INFO, ["198.18.0.1/24", "198.18.0.2/24"]), Vec::<String>::new());
}
