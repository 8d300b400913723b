//! Our stack at one end and the kernel's at the other, over a link that does what links do: right to the byte, whatever the
//! kernel's TCP is told to do without. Needs root.

mod common;

use std::{
    io::{Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use common::{
    is_root,
    served::{ADDRESS, ADDRESS_V6, Served},
};
use sha2::{Digest, Sha256};
use xskip_cli::{
    host::sysctl,
    lab::{STACK, Side},
    relay::RelayCounts,
};

/// What the kernel's TCP has, and what it does without, in turn.
const KERNELS: [(&str, &[(&str, &str)]); 6] = [
    ("as it comes", &[]),
    ("without timestamps", &[("tcp_timestamps", "0")]),
    ("without SACK", &[("tcp_sack", "0")]),
    ("without window scaling", &[("tcp_window_scaling", "0")]),
    ("asking for ECN", &[("tcp_ecn", "1")]),
    ("with none of them", &[("tcp_timestamps", "0"), ("tcp_sack", "0"), ("tcp_window_scaling", "0"), ("tcp_ecn", "0")]),
];

/// How they all begin. Without the last one, a kernel would remember the slow start of the connection before.
const DEFAULTS: [(&str, &str); 5] = [
    ("tcp_timestamps", "1"),
    ("tcp_sack", "1"),
    ("tcp_window_scaling", "1"),
    ("tcp_ecn", "2"),
    ("tcp_no_metrics_save", "1"),
];

/// How long one transfer may stand still. A transfer that does has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One way to put our stack at one end and the kernel at the other.
trait Pairing {
    /// The side whose kernel takes part, and whose settings vary.
    fn kernel(&self) -> &Side;

    /// What the relay between them did.
    fn relay_counts(&self) -> RelayCounts;

    /// Sends this to the other end, which sends it back; over this version of IP. Gives back what came.
    fn echo(&mut self, is_ipv6: bool, bytes: &[u8]) -> Vec<u8>;

    /// Ends it; ours must have lost no frame.
    fn end(self);
}

/// `xskip serve`, and the kernel's client.
struct OurServer(Served);

impl OurServer {
    fn new(impairment: &str) -> Self {
        let arguments = ["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "7", "--app", "echo", "--json"];
        Self(Served::impaired(impairment, &arguments))
    }
}

impl Pairing for OurServer {
    fn kernel(&self) -> &Side {
        self.0.lab.client()
    }

    fn relay_counts(&self) -> RelayCounts {
        self.0.lab.relay_counts().unwrap()
    }

    fn echo(&mut self, is_ipv6: bool, bytes: &[u8]) -> Vec<u8> {
        let address = if is_ipv6 { IpAddr::V6(STACK.1) } else { IpAddr::V4(STACK.0) };
        let to = SocketAddr::new(address, 7);
        exchange(self.kernel().run(|| TcpStream::connect_timeout(&to, PATIENCE).unwrap()).unwrap(), bytes)
    }

    fn end(mut self) {
        self.0.stop_balanced();
    }
}

/// `xskip serve --connect`, and a listener of the kernel's: we open, and send everything back.
struct OurClient(Served);

impl OurClient {
    fn new(impairment: &str) -> Self {
        Self(Served::impaired(impairment, &["--address", ADDRESS, "--port", "7", "--app", "echo", "--json"]))
    }
}

impl Pairing for OurClient {
    fn kernel(&self) -> &Side {
        self.0.lab.client()
    }

    fn relay_counts(&self) -> RelayCounts {
        self.0.lab.relay_counts().unwrap()
    }

    fn echo(&mut self, is_ipv6: bool, bytes: &[u8]) -> Vec<u8> {
        let here = if is_ipv6 { "[2001:2::2]:9000" } else { "198.18.0.2:9000" };
        let address = if is_ipv6 { ADDRESS_V6 } else { ADDRESS };
        let listener = self.kernel().run(|| TcpListener::bind(here).unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.0.again(&["--address", address, "--app", "echo", "--connect", here, "--json"]);
        let begin = Instant::now();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "nobody came: {error}"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        stream.set_nonblocking(false).unwrap();
        exchange(stream, bytes)
    }

    fn end(mut self) {
        self.0.stop_balanced();
    }
}

/// Sends everything and says so, and meanwhile takes in what comes, to its end.
fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let mut received = Vec::with_capacity(bytes.len());
    thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(bytes).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut received).unwrap();
    });
    received
}

/// Bytes in which no stretch is like another: one that is lost, comes twice or in another's place does not go unnoticed.
fn pattern(length: usize) -> Vec<u8> {
    (0..length.div_ceil(8) as u64).flat_map(|at| xskip_cli::rng::splitmix64(at).to_le_bytes()).take(length).collect()
}

fn configure(side: &Side, settings: &[(&str, &str)]) {
    let set = || settings.iter().for_each(|(key, value)| sysctl::write(&format!("net/ipv4/{key}"), value).unwrap());
    side.run(set).unwrap();
}

/// Every kernel, over both versions of IP.
fn every_kernel(link: &str, mut pairing: impl Pairing, happened: impl Fn(&RelayCounts) -> u64) {
    let sent = pattern(2_000_000);
    for (kernel, settings) in KERNELS {
        configure(pairing.kernel(), &DEFAULTS);
        configure(pairing.kernel(), settings);
        for is_ipv6 in [false, true] {
            let begin = Instant::now();
            let received = pairing.echo(is_ipv6, &sent);
            let wrong = sent.iter().zip(&received).position(|(sent, received)| sent != received);
            let what = format!("{link}, IPv{}, a kernel {kernel}", if is_ipv6 { 6 } else { 4 });
            assert_eq!((received.len(), wrong), (sent.len(), None), "{what}: the length, and where it goes wrong");
            println!("{what}: {:?}", begin.elapsed());
        }
    }
    let counts = pairing.relay_counts();
    println!("{link}: {counts:?}");
    assert!(happened(&counts) > 0, "{link}: nothing of that kind happened");
    pairing.end();
}

#[test]
fn our_server_echoes_over_a_clean_link() {
    if is_root() {
        every_kernel("clean", OurServer::new(""), |counts| counts.up.pushed);
    }
}

#[test]
fn our_server_echoes_over_a_link_with_loss() {
    if is_root() {
        every_kernel("loss", OurServer::new("loss=1%,delay=5ms"), |counts| counts.up.lost.min(counts.down.lost));
    }
}

#[test]
fn our_server_echoes_over_a_link_that_reorders() {
    if is_root() {
        let pairing = OurServer::new("reorder=5%,delay=2ms,jitter=500us");
        every_kernel("reordering", pairing, |counts| counts.up.overtook.min(counts.down.overtook));
    }
}

#[test]
fn our_server_echoes_over_a_link_that_duplicates() {
    if is_root() {
        let pairing = OurServer::new("duplicate=5%,delay=1ms");
        every_kernel("duplicating", pairing, |counts| counts.up.duplicated.min(counts.down.duplicated));
    }
}

#[test]
fn our_server_echoes_over_a_link_that_corrupts() {
    if is_root() {
        let pairing = OurServer::new("corrupt=0.2%,delay=1ms");
        every_kernel("corrupting", pairing, |counts| counts.up.corrupted.min(counts.down.corrupted));
    }
}

#[test]
fn our_client_echoes_over_a_clean_link() {
    if is_root() {
        every_kernel("clean, we open", OurClient::new(""), |counts| counts.up.pushed);
    }
}

#[test]
fn our_client_echoes_over_a_link_with_loss() {
    if is_root() {
        let pairing = OurClient::new("loss=1%,delay=5ms");
        every_kernel("loss, we open", pairing, |counts| counts.up.lost.min(counts.down.lost));
    }
}

#[test]
fn our_client_echoes_over_a_link_that_reorders() {
    if is_root() {
        let pairing = OurClient::new("reorder=5%,delay=2ms,jitter=500us");
        every_kernel("reordering, we open", pairing, |counts| counts.up.overtook.min(counts.down.overtook));
    }
}

#[test]
fn curl_fetches_over_every_link_what_was_served() {
    if !is_root() {
        return;
    }
    let body: Vec<u8> = (0..=250u8).cycle().take(5_000_000).collect();
    let expected = Sha256::digest(&body);
    let links =
        ["", "loss=1%,delay=5ms", "reorder=5%,delay=2ms", "duplicate=5%", "corrupt=0.2%", "rate=100mbit,queue=50"];
    for link in links {
        let arguments = ["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--app", "http", "--json"];
        let mut served = Served::impaired(link, &arguments);
        for host in ["198.18.0.1", "[2001:2::1]"] {
            let url = format!("http://{host}/bytes/5000000");
            let fetched = served.client_ok("curl", &["-sS", "--max-time", "30", &url]);
            assert_eq!(Sha256::digest(&fetched), expected, "{link}: {url}, {} bytes", fetched.len());
        }
        served.stop_balanced();
    }
}
