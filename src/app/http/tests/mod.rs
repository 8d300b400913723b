//! The server from outside, through a whole stack, and its parts from inside.

mod draining;
mod parts;
mod service;
mod timeouts;

use super::*;
use crate::{
    app::Services,
    config::StackConfig,
    stack::{LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{
        self, ChecksumPolicy, InterfaceId, IpHeader, LinkHeader, MacAddress, Packet, ParsedFrame, Protocol, SeqNumber,
        TcpFlags, TcpHeader, TcpOptions,
    },
    worker::{Application, WorkerIndex},
};
use std::{net::IpAddr, time::Duration};

const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const MSS: usize = 1_460;

fn context(now: Instant, stack: &mut Stack) -> Context<'_> {
    Context::new(now, stack, WorkerIndex::ONLY)
}

/// A client of few words: it keeps what arrives in order and acknowledges it at once. No frame is ever lost here.
struct Client {
    stack: Stack,
    services: Services<Http>,
    now: Instant,
    port: u16,
    seq: SeqNumber,
    ack: SeqNumber,
    /// Everything received.
    received: Vec<u8>,
    /// Octets after which it acknowledges no more.
    appetite: usize,
    /// Whether the server has closed its side.
    ended: bool,
    /// FINs that came, on whichever connection.
    fins: usize,
    /// Whether the server has reset the connection.
    reset: bool,
}

impl Client {
    fn connect() -> Self {
        Self::connect_to(StackConfig::default())
    }

    fn connect_to(config: StackConfig) -> Self {
        Self::with(config, Http::default())
    }

    fn with(config: StackConfig, http: Http) -> Self {
        let local = LocalAddress { cidr: "198.18.0.1/24".parse().unwrap(), ownership: Ownership::Own };
        let mut stack = Stack::new(config, OURS, vec![local], Secrets::from_seed(1));
        stack.listen(None, 80).unwrap();
        let mut client = Self {
            stack,
            services: Services::new(http),
            now: Instant::from_millis(1_000),
            port: 49_152,
            seq: SeqNumber::new(0xffff_ff00), // so that the numbers wrap on the way
            ack: SeqNumber::default(),
            received: Vec::new(),
            appetite: usize::MAX,
            ended: false,
            fins: 0,
            reset: false,
        };
        client.open();
        client
    }

    fn open(&mut self) {
        self.transmit(TcpFlags::SYN, b"");
        self.exchange();
        self.transmit(TcpFlags::ACK, b"");
        self.exchange();
    }

    /// Begins another connection, and leaves the one it has.
    fn another(&mut self) {
        self.port += 1;
        self.received.clear();
        self.open();
    }

    /// Sends octets, in segments as large as may be, and lets everything happen that follows.
    fn send(&mut self, octets: impl AsRef<[u8]>) {
        for segment in octets.as_ref().chunks(MSS) {
            self.transmit(TcpFlags::ACK | TcpFlags::PSH, segment);
            self.exchange();
        }
    }

    /// Closes the client's side.
    fn finish(&mut self) {
        self.transmit(TcpFlags::FIN | TcpFlags::ACK, b"");
        self.exchange();
    }

    fn transmit(&mut self, flags: TcpFlags, payload: &[u8]) {
        let link = LinkHeader { destination: OURS, source: THEIRS, ..LinkHeader::default() };
        let ip = IpHeader::new(IpAddr::from([198, 18, 0, 2]), IpAddr::from([198, 18, 0, 1]), Protocol::Tcp);
        let is_syn = flags.contains(TcpFlags::SYN);
        let tcp = TcpHeader {
            source_port: self.port,
            destination_port: 80,
            seq: self.seq,
            ack: self.ack,
            flags,
            window: 65_535,
            urgent: 0,
            options: TcpOptions { mss: is_syn.then_some(MSS as u16), ..TcpOptions::default() },
        };
        let mut frame = vec![0; wire::tcp_frame_len(&link, &ip, &tcp) + payload.len()];
        wire::write_tcp(&link, &ip, &tcp, (payload, &[]), &mut frame);
        self.seq = self.seq.advance(payload.len() as u32 + u32::from(is_syn || flags.contains(TcpFlags::FIN)));
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    /// Lets server and client talk until neither has anything more to say.
    fn exchange(&mut self) {
        let mut buffer = [0; 2_048];
        loop {
            self.now += Duration::from_micros(10);
            while let Some(event) = self.stack.poll_event() {
                self.services.event(event, &mut context(self.now, &mut self.stack));
            }
            self.services.on_turn(&mut context(self.now, &mut self.stack));
            let mut news = false;
            while let Some(length) = self.stack.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
                news |= self.receive(&buffer[..length]);
            }
            if !news || self.received.len() >= self.appetite {
                return;
            }
            self.transmit(TcpFlags::ACK, b"");
        }
    }

    /// Says nothing for a while, but acknowledges what comes. Returns how long it took until something happened to the
    /// connection, if anything did.
    fn wait(&mut self, span: Duration) -> Option<Duration> {
        let began = self.now;
        let told = (self.received.len(), self.ended, self.reset);
        while self.now < began + span {
            let due = self.services.on_turn(&mut context(self.now, &mut self.stack));
            let due = [due, self.stack.poll_timeout()].into_iter().flatten().min().unwrap_or(Instant::NEVER);
            self.now = due.max(self.now + Duration::from_micros(1)).min(began + span);
            self.stack.handle_timeout(self.now);
            self.exchange();
            if told != (self.received.len(), self.ended, self.reset) {
                return Some(self.now - began);
            }
        }
        None
    }

    /// Takes a frame in; whether there is something to acknowledge.
    fn receive(&mut self, frame: &[u8]) -> bool {
        let parsed = wire::parse(frame, ChecksumPolicy::Verify);
        // A client that is silent for long is asked for its link address.
        let Ok(ParsedFrame { packet: Packet::Tcp(_, segment), .. }) = parsed else {
            let is_question = matches!(parsed, Ok(ParsedFrame { packet: Packet::Arp(_), .. }));
            assert!(is_question, "the server sends good TCP: {parsed:?}");
            return false;
        };
        self.reset |= segment.has(TcpFlags::RST);
        self.fins += usize::from(segment.has(TcpFlags::FIN));
        if segment.has(TcpFlags::SYN) {
            self.ack = segment.header.seq.advance(1);
            return false;
        }
        if segment.header.seq != self.ack {
            return false;
        }
        self.received.extend(segment.payload);
        self.ack = self.ack.advance(segment.len());
        self.ended |= segment.has(TcpFlags::FIN);
        !segment.is_empty()
    }

    /// The responses so far; `methods` are those of the requests they answer.
    fn responses(&self, methods: &[&str]) -> Vec<Response> {
        let mut rest = &self.received[..];
        let responses = methods.iter().map(|method| Response::read(&mut rest, *method == "HEAD")).collect();
        assert!(rest.is_empty(), "more than was asked for: {}", rest.escape_ascii());
        responses
    }

    /// The only response so far, to a GET.
    fn response(&self) -> Response {
        self.responses(&["GET"]).remove(0)
    }
}

/// A response, read as a client would.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Response {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    fn read(octets: &mut &[u8], is_head: bool) -> Self {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = head.parse(octets) else {
            panic!("no response: {}", octets.escape_ascii());
        };
        assert_eq!(head.version, Some(1), "a server speaks its own version (RFC 9110 §6.2)");
        let fields = head.headers.iter().map(|field| {
            (field.name.to_ascii_lowercase(), String::from_utf8(field.value.to_vec()).expect("fields are text"))
        });
        let mut response = Self { status: head.code.expect("a status"), fields: fields.collect(), body: Vec::new() };
        let content: usize = response.field("content-length").expect("a length").parse().expect("a number");
        let body = if is_head { 0 } else { content };
        assert!(octets.len() >= length + body, "the body is cut short");
        response.body = octets[length..length + body].to_vec();
        *octets = &octets[length + body..];
        response
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "{name} is there twice");
        first
    }
}

/// The response to `request`, alone on a connection, and whether the connection stays open.
fn answer(request: &str) -> (Response, bool) {
    let mut client = Client::connect();
    client.send(request);
    let method = if request.starts_with("HEAD ") { "HEAD" } else { "GET" };
    let response = client.responses(&[method]).remove(0);
    assert!(!client.reset, "{request}");
    assert_eq!(client.ended, response.field("connection") == Some("close"), "it does what it says: {request}");
    (response, !client.ended)
}

/// What `/bytes/N` is.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}
