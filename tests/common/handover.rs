//! A backend that takes handshakes over, and clients that are nothing but segments: the SYN and its answer, which the balancer would
//! have seen, are numbers that the core's own cookie jar makes.

use super::{
    packet::{PacketSocket, Virtio},
    tunnel::{INTERFACE, Kind, Tunnel, VIP_V4, VIP_V6, Wire, sh},
    xskip,
};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::Output,
    time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH},
};
use tempfile::NamedTempFile;
use xskip_cli::{
    host::Link,
    rng::SipKey,
    tcp::{
        cookie::{CookieJar, MasterKey},
        handshake::Offer,
    },
    time::Instant,
    wire::{
        ChecksumPolicy, FourTuple, IpHeader, LinkHeader, MacAddress, Packet, Protocol, SeqNumber, TcpFlags, TcpHeader,
        TcpOptions, parse, tcp_options::Timestamps, write_tcp,
    },
};

pub const PORT: u16 = 80;
/// Nobody's addresses, which the router swallows answers to.
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
const PATIENCE: Duration = Duration::from_secs(20);
/// How long silence is waited for: many times what an answer takes.
const SILENCE: Duration = Duration::from_millis(300);

pub const EVERYTHING: Offer = Offer { mss: 1_460, window_scale: Some(9), sack: true, ecn: false, timestamps: true };

/// A backend, and the wire in front of it.
pub struct Site {
    pub tunnel: Tunnel,
    pub key: SipKey,
    pub key_file: NamedTempFile,
    wire: PacketSocket,
    router: MacAddress,
    backend: MacAddress,
}

/// A segment that came back.
#[derive(Debug)]
pub struct Answer {
    pub header: TcpHeader,
    pub data: Vec<u8>,
}

impl Answer {
    pub fn is_reset(&self) -> bool {
        self.header.flags.contains(TcpFlags::RST)
    }
}

/// A file with this key.
pub fn key_file(key: SipKey) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    let digits: String = key.to_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
    file.write_all(digits.as_bytes()).unwrap();
    file
}

impl Site {
    /// One at which the program is attached, with a master of its own.
    pub fn new() -> Self {
        let site = Self::unattached();
        site.attach(&site.key_file);
        site
    }

    pub fn unattached() -> Self {
        let tunnel = Tunnel::new(Wire::Segments);
        sh(&format!(
            "ip -n {0} route add blackhole 203.0.113.0/24; ip -n {0} route add blackhole 2001:db8::/32",
            tunnel.router.name()
        ));
        let (wire, router) = tunnel
            .router
            .run(|| {
                let link = Link::find("r1").unwrap();
                (PacketSocket::open(link.index, false).unwrap(), link.mac)
            })
            .unwrap();
        let backend = tunnel.backend.run(|| Link::find(INTERFACE).unwrap().mac).unwrap();
        let key = SipKey::random().unwrap();
        let key_file = key_file(key);
        Self { tunnel, key, key_file, wire, router: MacAddress(router), backend: MacAddress(backend) }
    }

    /// Attaches the program with the master in a file, and gives back what was noted.
    #[track_caller]
    pub fn attach(&self, master: &NamedTempFile) -> String {
        let output = self.try_attach(master, "");
        let noted = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{noted}");
        noted
    }

    pub fn try_attach(&self, master: &NamedTempFile, words: &str) -> Output {
        let path = master.path().to_str().unwrap();
        let mut all = vec!["backend", "attach", "--interface", INTERFACE, "--cookie-master", path];
        all.extend(words.split_whitespace());
        self.tunnel.backend.run(|| xskip(&all).output().unwrap()).unwrap()
    }

    pub fn status(&self, form: &str) -> String {
        let words = ["backend", "status", "--interface", INTERFACE];
        let words: Vec<_> = words.into_iter().chain(form.split_whitespace()).collect();
        String::from_utf8(self.tunnel.backend.run(|| xskip(&words).output().unwrap()).unwrap().stdout).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.status("--json")).unwrap()
    }

    pub fn count(&self, name: &str) -> u64 {
        self.json()["counters"][name].as_u64().unwrap()
    }

    /// What the hand-over has counted, as far as it is not 0: all but what every packet counts as.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let counters = self.json()["counters"].clone();
        let all = counters.as_object().unwrap().iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap()));
        all.filter(|(name, count)| *count > 0 && name != "passed_plain" && !name.contains("in")).collect()
    }

    pub fn listen(&self, vip: IpAddr) -> TcpListener {
        self.tunnel.backend.run(|| TcpListener::bind((vip, PORT)).unwrap()).unwrap()
    }

    /// A client that has sent a SYN and got its answer just now.
    pub fn client(&self, vip: IpAddr, port: u16, offer: Offer) -> Client {
        self.client_with(self.key, 0, vip, port, offer)
    }

    /// Another master may have made the cookie, and a clock that is off by some seconds.
    pub fn client_with(&self, key: SipKey, seconds: i64, vip: IpAddr, port: u16, offer: Offer) -> Client {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let calendar = Duration::from_secs(now.as_secs().checked_add_signed(seconds).unwrap());
        let mut jar = CookieJar::new(MasterKey::new(key), calendar);
        let address = if vip.is_ipv4() { IpAddr::from(CLIENT_V4) } else { CLIENT_V6.into() };
        let (ours, theirs) = (SocketAddr::new(address, port), SocketAddr::new(vip, PORT));
        let tuple = FourTuple { local: theirs.into(), remote: ours.into() };
        // Differs from one handshake to the next, as those of clients do.
        let initial = SeqNumber::new(now.as_nanos() as u32);
        let cookie = jar.make(Instant::ZERO, &tuple, initial, &offer.remembered(address).unwrap());
        let clock = now.as_millis() as u32;
        let timestamps = cookie.timestamp.map(|echo| Timestamps { value: clock, echo });
        Client { ours, theirs, next: initial.advance(1), expected: cookie.iss.advance(1), timestamps }
    }

    /// Sends frames from the router, at once.
    pub fn send(&self, frames: &[Vec<u8>]) {
        for frame in frames {
            let whole = [&self.backend.0[..], &self.router.0, &frame[12..]].concat();
            self.wire.send(Virtio::default(), &whole).unwrap();
        }
    }

    /// Sends a frame in a tunnel.
    pub fn send_in(&self, kind: Kind, frame: &[u8]) {
        let ether_type = if kind.outer_ipv6 { [0x86, 0xdd] } else { [8, 0] };
        self.send(&[[&[0; 12][..], &ether_type, &kind.around(&frame[14..])].concat()]);
    }

    /// The next segment for a client, if one comes.
    pub fn hear_within(&self, client: &Client, patience: Duration) -> Option<Answer> {
        let deadline = Clock::now() + patience;
        while Clock::now() < deadline {
            let Some((_, frame)) = self.wire.receive().unwrap() else { continue };
            let Ok(parsed) = parse(&frame, ChecksumPolicy::AcceptPartial) else { continue };
            let Packet::Tcp(ip, segment) = parsed.packet else { continue };
            if SocketAddr::new(ip.destination, segment.header.destination_port) == client.ours {
                return Some(Answer { header: segment.header, data: segment.payload.to_vec() });
            }
        }
        None
    }

    #[track_caller]
    pub fn hear(&self, client: &Client) -> Answer {
        self.hear_within(client, PATIENCE).expect("an answer comes")
    }

    /// Its end.
    #[track_caller]
    pub fn hear_fin(&self, client: &Client) -> Answer {
        std::iter::repeat_with(|| self.hear(client))
            .find(|answer| answer.header.flags.contains(TcpFlags::FIN))
            .expect("it is heard, or nothing is")
    }

    /// Nothing comes for the client.
    #[track_caller]
    pub fn hears_nothing(&self, client: &Client) {
        let heard = self.hear_within(client, SILENCE);
        assert!(heard.is_none(), "{heard:?}");
    }

    /// What `ss` tells of the connections of the servers here, one a line.
    pub fn connections(&self) -> Vec<String> {
        let said = self.tunnel.backend_sh(&format!("ss -tinoOH state established sport = :{PORT}"));
        said.lines().map(str::to_owned).collect()
    }
}

/// The client's end of a handshake, and what it would send next.
#[derive(Clone, Debug)]
pub struct Client {
    pub ours: SocketAddr,
    pub theirs: SocketAddr,
    pub next: SeqNumber,
    pub expected: SeqNumber,
    pub timestamps: Option<Timestamps>,
}

impl Client {
    /// A frame with a segment, which the client has sent then.
    pub fn segment(&mut self, flags: TcpFlags, data: &[u8]) -> Vec<u8> {
        let tcp = TcpHeader {
            source_port: self.ours.port(),
            destination_port: self.theirs.port(),
            seq: self.next,
            ack: self.expected,
            flags,
            window: 60_000,
            options: TcpOptions { timestamps: self.timestamps, ..TcpOptions::default() },
            ..TcpHeader::default()
        };
        self.next = self.next.advance(data.len() as u32 + u32::from(flags.contains(TcpFlags::FIN)));
        let ip = IpHeader::new(self.ours.ip(), self.theirs.ip(), Protocol::Tcp);
        let mut frame = vec![0; 200 + data.len()];
        let header = write_tcp(&LinkHeader::default(), &ip, &tcp, (data, &[]), &mut frame);
        frame.truncate(header);
        frame
    }

    pub fn acknowledgment(&mut self) -> Vec<u8> {
        self.segment(TcpFlags::ACK, &[])
    }

    pub fn data(&mut self, data: &[u8]) -> Vec<u8> {
        self.segment(TcpFlags::ACK | TcpFlags::PSH, data)
    }

    /// Takes what has come: the next segment acknowledges it.
    pub fn take(&mut self, answer: &Answer) {
        let fin = u32::from(answer.header.flags.contains(TcpFlags::FIN));
        self.expected = answer.header.seq.advance(answer.data.len() as u32 + fin);
        if let (Some(ours), Some(theirs)) = (&mut self.timestamps, answer.header.options.timestamps) {
            ours.echo = theirs.value;
        }
    }
}

pub fn vips() -> [IpAddr; 2] {
    [VIP_V4.into(), VIP_V6.into()]
}

/// The next connection of a listener, which has a while to come.
#[track_caller]
pub fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    super::wait_until("a connection is accepted", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, from) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (stream, from)
}

/// Nobody is there to be accepted.
#[track_caller]
pub fn accepts_nobody(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

/// A question and its answer, over a connection that is there.
#[track_caller]
pub fn converse(site: &Site, client: &mut Client, stream: &mut TcpStream) {
    site.send(&[client.data(b"question")]);
    answered(site, client, stream);
}

/// The answer to a question that has been sent.
#[track_caller]
pub fn answered(site: &Site, client: &mut Client, stream: &mut TcpStream) {
    let mut got = [0; 8];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"question");
    stream.write_all(b"answer").unwrap();
    // What is sent again, of this connection or of one before, is not looked at.
    let is_answer = |answer: &Answer| !answer.data.is_empty() && answer.header.seq == client.expected;
    let answer = std::iter::repeat_with(|| site.hear(client)).find(is_answer).unwrap();
    assert_eq!((answer.data.as_slice(), answer.header.ack), (&b"answer"[..], client.next));
    client.take(&answer);
    site.send(&[client.acknowledgment()]);
}

/// What the hand-over has counted.
#[track_caller]
pub fn counted(site: &Site, expected: &[(&str, u64)]) {
    let is_so = || site.counts().iter().map(|(name, count)| (name.as_str(), *count)).eq(expected.iter().copied());
    let deadline = Clock::now() + PATIENCE;
    while !is_so() {
        assert!(Clock::now() < deadline, "{:?} instead of {expected:?}", site.counts());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
