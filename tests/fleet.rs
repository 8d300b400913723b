//! Two balancers with one file before the same backends: handshakes that one of them has answered before it was killed end at the
//! other one. Needs root.

mod common;
#[path = "balancer/net.rs"]
mod net;

use common::{
    is_root,
    packet::{PacketSocket, Virtio},
    wait_until,
};
use net::{Net, Talk, VIPS, address};
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use xskip_cli::{
    host::Link,
    wire::{
        ChecksumPolicy, IpHeader, LinkHeader, Packet, Protocol, SeqNumber, TcpFlags, TcpHeader, TcpOptions, parse,
        tcp_options::Timestamps, write_tcp,
    },
};

const PORT: u16 = 7_000;
const XSKIP: &str = env!("CARGO_BIN_EXE_xskip");
/// Clients of each kind, half of them by each IP version.
const CLIENTS: u16 = 12;
/// Where raw clients come from, each from another one in each mode: ports that the client's kernel knows nothing of, and is not to
/// answer for.
const RAW_PORTS: u16 = 900;
const MODES: [&str; 2] = ["dsr", "gue"];
const PATIENCE: Duration = Duration::from_secs(60);

/// Both balancers and two backends that take handshakes over.
struct Fleet {
    net: Net,
    folder: TempDir,
}

impl Fleet {
    fn new() -> Self {
        let (mut net, folder) = (Net::new(2), tempfile::tempdir().unwrap());
        net.add_second_balancer();
        let fleet = Self { net, folder };
        for (name, digits) in [("cookie.key", "101112131415161718191a1b1c1d1e1f"), ("row.key", &"7".repeat(32))] {
            let path = fleet.path(name);
            fs::write(&path, digits).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        for backend in ["b1", "b2"] {
            fleet.net.serve(backend, PORT);
            let master = fleet.path("cookie.key");
            let attach = format!("{XSKIP} backend attach --interface eth0 --cookie-master {}", master.display());
            fleet.net.sh(backend, &attach);
        }
        // Segments that end a handshake do not leave the client, nor does its kernel answer for clients that are not its own.
        fleet.net.sh(
            "client",
            &format!(
                "nft 'table inet held {{
                     chain without_socket {{ type filter hook output priority 0; tcp sport {RAW_PORTS}-{} drop; }}
                     chain ends {{ type filter hook output priority 1; }}
                 }}'",
                RAW_PORTS + CLIENTS * MODES.len() as u16
            ),
        );
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a balancer, and waits until it answers SYNs.
    fn start(&self, host: &str, mode: &str) -> Balancer<'_> {
        let folder = self.folder.path().display();
        let mut text = format!(
            "interface = \"eth0\"\ncontrol = \"{folder}/{host}.sock\"\nrow_key_file = \"{folder}/row.key\"\n\
             cookie_master_file = \"{folder}/cookie.key\"\n"
        );
        for (vip, name) in VIPS.into_iter().zip(["four", "six"]) {
            let at = SocketAddr::new(vip.parse().unwrap(), PORT);
            text += &format!("[[service]]\nname = \"{name}\"\naddress = \"{at}\"\nmode = \"{mode}\"\n");
            text += "syn_proxy = \"always\"\ncheck = { kind = \"tcp\", interval = \"300ms\" }\n";
            for number in 1..=2 {
                let address = address(10 + number, name == "six");
                text += &format!("[[service.backend]]\nname = \"b{number}\"\naddress = \"{address}\"\n");
            }
        }
        let file = self.path(&format!("{host}.toml"));
        fs::write(&file, text).unwrap();
        // They are on one link here, where a client is told which of them has its way.
        let words = ["lb", "run", "--no-probe", "--config", file.to_str().unwrap()];
        let process = self.net.program(host, XSKIP).args(words).stderr(Stdio::null()).spawn().unwrap();
        let balancer = Balancer { fleet: self, host: host.to_owned(), process };
        wait_until("SYNs are answered", || {
            let said = balancer.status("");
            said.matches("SYNs are answered here").count() == 2 && said.matches("  up").count() == 4
        });
        balancer
    }

    /// Has the client send packets for the services to this balancer.
    fn lead_to(&self, host: &str) {
        let mac = self.mac(host).map(|octet| format!("{octet:02x}")).join(":");
        for vip in VIPS {
            self.net.sh("client", &format!("ip neighbour replace {vip} lladdr {mac} dev eth0 nud permanent"));
        }
    }

    fn mac(&self, host: &str) -> [u8; 6] {
        self.net.on(host, || Link::find("eth0").unwrap().mac)
    }

    fn hold(&self) {
        let segments = format!("tcp dport {PORT} tcp flags & syn == 0");
        self.net.sh("client", &format!("nft 'add rule inet held ends {segments} counter drop'"));
    }

    fn let_go(&self) {
        self.net.sh("client", "nft flush chain inet held ends");
    }
}

/// A balancer at work. It is killed when the value is dropped.
struct Balancer<'a> {
    fleet: &'a Fleet,
    host: String,
    process: Child,
}

impl Balancer<'_> {
    fn status(&self, form: &str) -> String {
        let file = self.fleet.path(&format!("{}.toml", self.host));
        let words = ["lb", "status", "--config", file.to_str().unwrap()];
        let output = self.fleet.net.program(&self.host, XSKIP).args(words).args(form.split_whitespace()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    /// SYNs that it has answered.
    fn answered(&self) -> u64 {
        let status: serde_json::Value = serde_json::from_str(&self.status("--json")).unwrap();
        status["outcomes"]["answered_syn"].as_u64().unwrap()
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Balancer<'_> {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A client that is nothing but segments, so that the one which ends its handshake goes when it is told to.
struct RawClient<'a> {
    wire: &'a PacketSocket,
    ours: SocketAddr,
    theirs: SocketAddr,
    macs: [[u8; 6]; 2],
    next: SeqNumber,
    expected: SeqNumber,
    timestamps: Timestamps,
}

impl<'a> RawClient<'a> {
    /// Sends a SYN, and waits for the answer.
    fn connect(wire: &'a PacketSocket, port: u16, vip: &str, macs: [[u8; 6]; 2]) -> Self {
        let vip: std::net::IpAddr = vip.parse().unwrap();
        let ours = SocketAddr::new(address(2, vip.is_ipv6()), port);
        let next = SeqNumber::new(u32::from(port) << 20);
        let timestamps = Timestamps { value: 1_000, echo: 0 };
        let mut client =
            Self { wire, ours, theirs: SocketAddr::new(vip, PORT), macs, next, expected: next, timestamps };
        client.send(TcpFlags::SYN, &[]);
        let answer = client.hear(|header, _| header.flags == TcpFlags::SYN | TcpFlags::ACK).0;
        assert_eq!(answer.ack, client.next);
        client.expected = answer.seq.advance(1);
        client.timestamps.echo = answer.options.timestamps.unwrap().value;
        client
    }

    fn send(&mut self, flags: TcpFlags, data: &[u8]) {
        let is_syn = flags.contains(TcpFlags::SYN);
        let options = TcpOptions { timestamps: Some(self.timestamps), ..TcpOptions::default() };
        let tcp = TcpHeader {
            source_port: self.ours.port(),
            destination_port: PORT,
            seq: self.next,
            ack: if is_syn { SeqNumber::new(0) } else { self.expected },
            flags,
            window: 60_000,
            options: if is_syn { TcpOptions { mss: Some(1_400), sack_permitted: true, ..options } } else { options },
            ..TcpHeader::default()
        };
        self.next = self.next.advance(data.len() as u32 + u32::from(is_syn));
        let ip = IpHeader::new(self.ours.ip(), self.theirs.ip(), Protocol::Tcp);
        let mut frame = vec![0; 200 + data.len()];
        let length = write_tcp(&LinkHeader::default(), &ip, &tcp, (data, &[]), &mut frame);
        frame[..12].copy_from_slice(self.macs.as_flattened());
        self.wire.send(Virtio::default(), &frame[..length]).unwrap();
    }

    /// The next segment that is looked for.
    #[track_caller]
    fn hear(&self, is_it: impl Fn(&TcpHeader, &[u8]) -> bool) -> (TcpHeader, Vec<u8>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "{} waited in vain", self.ours);
            let Some((_, frame)) = self.wire.receive().unwrap() else { continue };
            let Ok(parsed) = parse(&frame, ChecksumPolicy::AcceptPartial) else { continue };
            let Packet::Tcp(ip, segment) = parsed.packet else { continue };
            let whose = SocketAddr::new(ip.destination, segment.header.destination_port);
            if whose == self.ours {
                assert!(!segment.header.flags.contains(TcpFlags::RST), "{} was reset", self.ours);
                if is_it(&segment.header, segment.payload) {
                    return (segment.header, segment.payload.to_vec());
                }
            }
        }
    }
}

/// What a raw client hears from whom it asks.
#[track_caller]
fn ask(client: &mut RawClient<'_>) -> String {
    let expected = client.expected;
    client.send(TcpFlags::ACK | TcpFlags::PSH, b"x\n");
    let (_, said) = client.hear(|header, data| !data.is_empty() && header.seq == expected);
    String::from_utf8(said).unwrap()
}

#[test]
fn handshakes_that_a_balancer_has_answered_before_it_was_killed_end_at_another_one() {
    if !is_root() {
        return;
    }
    let fleet = Fleet::new();
    let net = &fleet.net;
    for (mode, ports) in MODES.into_iter().zip((RAW_PORTS..).step_by(usize::from(CLIENTS))) {
        let (first, second) = (fleet.start("balancer", mode), fleet.start("second", mode));
        fleet.lead_to("balancer");
        let wire = net.on("client", || PacketSocket::open(Link::find("eth0").unwrap().index, false).unwrap());
        let macs = |host: &str| [fleet.mac(host), fleet.mac("client")];
        fleet.hold();
        // Each has its SYN-ACK, and no backend has heard of any of them.
        let vip = |number: u16| VIPS[usize::from(number % 2)];
        let mut impatient: Vec<_> = (0..CLIENTS).map(|it| net.connect(vip(it), PORT).into_stream()).collect();
        let quiet: Vec<_> = (0..CLIENTS).map(|it| net.connect(vip(it), PORT)).collect();
        let raw = |number| RawClient::connect(&wire, ports + number, vip(number), macs("balancer"));
        let mut raw: Vec<_> = (0..CLIENTS).map(raw).collect();
        assert!(first.answered() >= 3 * u64::from(CLIENTS));
        assert_eq!(second.answered(), 0);
        // Some have asked already, and ask again until somebody hears them.
        for stream in &mut impatient {
            std::io::Write::write_all(stream, b"x\n").unwrap();
        }

        first.kill();
        fleet.lead_to("second");
        for client in &mut raw {
            client.macs = macs("second");
            client.send(TcpFlags::ACK, &[]);
        }
        fleet.let_go();
        let mut who = std::collections::BTreeSet::new();
        for client in &mut raw {
            who.insert(ask(client));
            client.send(TcpFlags::RST | TcpFlags::ACK, &[]);
        }
        for mut talk in quiet {
            who.insert(format!("{} x\n", talk.ask(1).unwrap()));
        }
        for stream in impatient {
            let mut heard = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut heard).unwrap();
            who.insert(heard);
            // The connection is as any other.
            Talk::from(stream).ask(20_000).unwrap();
        }
        assert_eq!(who.into_iter().collect::<Vec<_>>(), ["b1 x\n", "b2 x\n"], "{mode}");
        assert_eq!(second.answered(), 0, "only SYNs are answered, and all of them came before");
    }
}
