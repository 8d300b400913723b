//! `xskip backend`: real servers on virtual addresses get what a balancer encapsulates, and answer the clients. Needs root.

mod common;

use common::{
    is_root, output_without_rights,
    packet::Virtio,
    tunnel::{BACKEND_V4, BALANCER_V4, CLIENT_V4, INTERFACE, Kind, Tunnel, VIP_V4, VIP_V6, Wire, sh},
    wait_until, xskip,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::os::fd::AsFd;
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use xskip_cli::{
    bpf::{BackendProgram, BackendSettings},
    host::{Link, clsact::Clsact, netns::Namespace},
    xdp::tc::{About, Ingress},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_xskip");
const TCP_PORT: u16 = 80;
const UDP_PORT: u16 = 81;
/// How long anything may take that happens at once.
const PATIENCE: Duration = Duration::from_secs(20);
const UPLOAD: usize = 3_000_000;
const DOWNLOAD: usize = 500_000;
const DATAGRAMS: u32 = 50;

impl Tunnel {
    /// `xskip backend` with these words, at the backend.
    fn xskip(&self, words: &str) -> Output {
        let command: Vec<_> = [PROGRAM, "backend"].into_iter().chain(words.split_whitespace()).collect();
        self.at_backend(&command)
    }

    #[track_caller]
    fn xskip_ok(&self, words: &str) -> (String, String) {
        let output = self.xskip(words);
        let [said, noted] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "xskip backend {words}: {noted}");
        (said, noted)
    }

    /// Fails with one sentence, which has all of these parts.
    #[track_caller]
    fn refuses(&self, words: &str, parts: &[&str]) {
        one_sentence(&self.xskip(words), words, parts);
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.xskip_ok(&format!("status --interface {INTERFACE} --json")).0).unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        self.status()["counters"][name].as_u64().unwrap()
    }

    /// What is attached to what the backend's interface receives: ids by tcx, filters, and whether there is a qdisc for them.
    fn attached(&self) -> (Vec<u32>, Vec<u32>, bool) {
        let look = || {
            let link = Link::find(INTERFACE).unwrap();
            let clsact = Clsact::read(&link).unwrap();
            let filters = clsact.iter().flat_map(|clsact| &clsact.ingress).filter_map(|filter| filter.program);
            (Ingress::read(link.index).unwrap().unwrap().programs, filters.collect(), clsact.is_some())
        };
        self.backend.run(look).unwrap()
    }

    /// What the backend's kernel has received with wrong checksums.
    fn checksum_errors(&self) -> u64 {
        let table = self.backend_sh("cat /proc/net/snmp /proc/net/snmp6");
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        let ipv4 = lines.windows(2).filter(|pair| ["Tcp:", "Udp:"].contains(&pair[0][0]) && pair[0][0] == pair[1][0]);
        let ipv4 = ipv4.flat_map(|pair| pair[0].iter().zip(&pair[1])).filter(|(name, _)| **name == "InCsumErrors");
        let ipv6 = lines.iter().filter(|line| line[0] == "Udp6InCsumErrors").map(|line| line[1]);
        let all: Vec<&str> = ipv4.map(|(_, value)| *value).chain(ipv6).collect();
        assert_eq!(all.len(), 3, "{table}");
        all.iter().map(|value| value.parse::<u64>().unwrap()).sum()
    }
}

#[track_caller]
fn one_sentence(output: &Output, words: &str, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}: {said}");
    assert!(said.starts_with("xskip: ") && said.trim_end().lines().count() == 1, "one sentence: {said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing but the sentence");
    for part in parts {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8 ^ seed).collect()
}

fn be_patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

/// A server that takes an upload, and answers with its hash and a download.
fn serve_tcp(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    be_patient(&stream);
    let mut got = vec![0; UPLOAD];
    stream.read_exact(&mut got).unwrap();
    stream.write_all(&Sha256::digest(&got)).unwrap();
    stream.write_all(&pattern(2, DOWNLOAD)).unwrap();
}

fn use_tcp(server: SocketAddr) {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    be_patient(&stream);
    let upload = pattern(1, UPLOAD);
    stream.write_all(&upload).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert_eq!(got[..32], Sha256::digest(&upload)[..], "the upload came as it was sent");
    assert_eq!(Sha256::digest(&got[32..]), Sha256::digest(pattern(2, DOWNLOAD)), "so did the download");
}

/// Opens a socket in a namespace, where it stays.
fn udp(namespace: &Namespace, address: IpAddr, port: u16) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind((address, port)).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a datagram back; who sent it, and what it was.
fn echo(server: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    let mut buffer = [0; 2_000];
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    server.send_to(&buffer[..length], from).unwrap();
    (from, buffer[..length].to_vec())
}

/// Numbered datagrams, each of which comes back, and no other.
fn use_udp(client: &UdpSocket, numbers: std::ops::Range<u32>) {
    for number in numbers {
        client.send(&number.to_be_bytes()).unwrap();
        let mut buffer = [0; 2_000];
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], number.to_be_bytes());
    }
}

fn any(is_ipv6: bool) -> IpAddr {
    if is_ipv6 { [0u8; 16].into() } else { [0u8; 4].into() }
}

fn client_udp(tunnel: &Tunnel, vip: IpAddr) -> UdpSocket {
    let socket = udp(&tunnel.client, any(vip.is_ipv6()), 0);
    tunnel.client.run(|| socket.connect((vip, UDP_PORT)).unwrap()).unwrap();
    socket
}

/// TCP and UDP in one kind of tunnel: how many frames the balancer sent, and how many had unfinished checksums.
fn exchange(tunnel: &Tunnel, kind: Kind) -> (u64, u64) {
    let vip = kind.vip();
    let balancer = tunnel.balance(kind);
    let listener = tunnel.backend.run(|| TcpListener::bind((vip, TCP_PORT)).unwrap()).unwrap();
    let server = udp(&tunnel.backend, vip, UDP_PORT);
    let client = client_udp(tunnel, vip);
    thread::scope(|scope| {
        scope.spawn(|| (0..DATAGRAMS).for_each(|_| drop(echo(&server))));
        use_udp(&client, 0..DATAGRAMS);
        scope.spawn(|| serve_tcp(&listener));
        tunnel.client.run(|| use_tcp((vip, TCP_PORT).into())).unwrap();
    });
    balancer.stop()
}

fn exchange_in_all_kinds(wire: Wire) {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(wire);
    tunnel.xskip_ok(&format!("attach --interface {INTERFACE} --from {BALANCER_V4} --from 2001:2:2::/64"));
    for kind in Kind::all() {
        let (sent, unfinished) = exchange(&tunnel, kind);
        let taken = tunnel.count(&kind.name());
        match wire {
            Wire::Segments => assert_eq!((taken, unfinished), (sent, 0), "{kind:?}"),
            Wire::Unfinished => assert_eq!((taken, unfinished), (sent, sent), "{kind:?}"),
            // The kernel merges what is in IPIP, and of GUE each by itself.
            Wire::Merged if kind.gue => assert_eq!(taken, sent, "{kind:?}"),
            Wire::Merged => assert!(taken > 50 && taken < sent / 2, "{kind:?}: {taken} of {sent}"),
        }
    }
    let counters = tunnel.status()["counters"].clone();
    let is_left = |name: &str| name.starts_with("passed_") || name.starts_with("dropped_");
    for (name, count) in counters.as_object().unwrap().iter().filter(|(name, _)| is_left(name)) {
        assert!(name == "passed_plain" || count == 0, "{name}: {count}");
    }
    assert_eq!(tunnel.checksum_errors(), 0);
}

#[test]
fn servers_on_virtual_addresses_answer_what_comes_in_segments() {
    exchange_in_all_kinds(Wire::Segments);
}

#[test]
fn servers_on_virtual_addresses_answer_what_has_no_checksum_yet() {
    exchange_in_all_kinds(Wire::Unfinished);
}

#[test]
fn servers_on_virtual_addresses_answer_what_was_merged() {
    exchange_in_all_kinds(Wire::Merged);
}

/// A datagram from the client to the virtual address, in IPIP, from the EtherType on; with a VLAN tag before it if wanted.
fn encapsulated(tag: Option<u16>, port: u16, data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len()) as u16;
    let datagram = [&[5_555, port, length, 0].map(u16::to_be_bytes).concat(), data].concat();
    let [high, low] = (20 + length).to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend(CLIENT_V4.octets());
    packet.extend(VIP_V4.octets());
    let field = xskip_cli::wire::checksum::Checksum::of(&packet).field();
    packet[10..12].copy_from_slice(&field);
    packet.extend(datagram);
    let kind = Kind { gue: false, outer_ipv6: false, inner_ipv6: false };
    let tag = tag.into_iter().flat_map(|tag| [0x8100, tag].map(u16::to_be_bytes)).flatten();
    tag.chain([8, 0]).chain(kind.around(&packet)).collect()
}

#[test]
fn a_tag_beside_the_frame_stays_there_and_what_is_cut_off_harms_nobody() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    tunnel.xskip_ok(&format!("attach --interface {INTERFACE}"));
    let server = udp(&tunnel.backend, VIP_V4.into(), UDP_PORT);
    // A priority tag: of no VLAN, and so for whoever has the link (IEEE 802.1Q section 6.7). The kernel keeps it beside the frame.
    tunnel.inject(&[encapsulated(Some(0), UDP_PORT, b"tagged")]);
    assert_eq!(echo(&server), ((CLIENT_V4, 5_555).into(), b"tagged".to_vec()));
    assert_eq!(tunnel.count("ipip_4in4"), 1);
    let whole = encapsulated(None, UDP_PORT, b"whole");
    let cut: Vec<_> = (2..whole.len()).map(|length| whole[..length].to_vec()).collect();
    tunnel.inject(&cut);
    tunnel.inject(&[whole]);
    assert_eq!(echo(&server).1, b"whole", "nothing came before it");
    assert_eq!(tunnel.count("ipip_4in4"), 2);
    assert!(tunnel.count("passed_malformed") > 20);
}

/// Headers that a driver has left in pages are put together before they are read.
#[test]
fn a_frame_in_pieces_is_taken_as_well() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    sh(&format!(
        "ip -n {} link set r1 mtu 9000; ip -n {} link set {INTERFACE} mtu 9000",
        tunnel.router.name(),
        tunnel.backend.name()
    ));
    tunnel.xskip_ok(&format!("attach --interface {INTERFACE}"));
    let server = udp(&tunnel.backend, VIP_V4.into(), UDP_PORT);
    let data = pattern(3, 1_900).repeat(4);
    tunnel.inject_as(Some(Virtio::in_pieces()), &[encapsulated(None, UDP_PORT, &data)]);
    let mut got = vec![0; 9_000];
    let (length, from) = server.recv_from(&mut got).unwrap();
    assert_eq!((from, &got[..length]), ((CLIENT_V4, 5_555).into(), &data[..]));
    assert_eq!(tunnel.count("ipip_4in4"), 1);
}

#[test]
fn whom_nobody_named_is_not_heard() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    let server = udp(&tunnel.backend, VIP_V4.into(), UDP_PORT);
    for (options, counter) in [
        ("--from 10.2.0.77 --from 2001:db8::/32", "passed_sender"),
        ("--from 10.2.0.1 --vip 198.18.0.81", "passed_vip"),
        ("--from 10.2.0.1 --address 10.2.0.3", "passed_address"),
    ] {
        tunnel.xskip_ok(&format!("attach --interface {INTERFACE} {options}"));
        tunnel.inject(&[encapsulated(None, UDP_PORT, b"refused")]);
        wait_until("it is counted", || tunnel.count(counter) == 1);
    }
    tunnel.xskip_ok(&format!("attach --interface {INTERFACE} --from {BALANCER_V4}"));
    tunnel.inject(&[encapsulated(None, UDP_PORT, b"heard")]);
    assert_eq!(echo(&server).1, b"heard", "the first that came");
    tunnel.xskip_ok(&format!("detach --interface {INTERFACE}"));
    tunnel.inject(&[encapsulated(None, UDP_PORT, b"detached")]);
    // The kernel of the backend tells the balancer that it knows no such protocol.
    let unknown =
        || tunnel.backend_sh("grep ^Ip: /proc/net/snmp").lines().nth(1).unwrap().split(' ').nth(7) != Some("0");
    wait_until("the kernel got it as it came", unknown);
    server.set_nonblocking(true).unwrap();
    assert!(server.recv(&mut [0; 100]).is_err(), "nothing is taken off any more");
}

#[test]
fn no_packet_is_lost_while_another_takes_its_place() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    let kind = Kind { gue: true, outer_ipv6: false, inner_ipv6: false };
    // When such a qdisc comes or goes, the kernel stops sending for a moment, and drops what is to be sent: so it is there before.
    tunnel.backend_sh(&format!("tc qdisc add dev {INTERFACE} clsact"));
    tunnel.xskip_ok(&format!("attach --interface {INTERFACE}"));
    let _balancer = tunnel.balance(kind);
    let (server, client) = (udp(&tunnel.backend, VIP_V4.into(), UDP_PORT), client_udp(&tunnel, VIP_V4.into()));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The last datagram, which nobody sends back, ends the server.
        scope.spawn(|| while echo(&server).1 != b"over" {});
        let sender = scope.spawn(|| {
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                use_udp(&client, number..number + 10);
                number += 10;
            }
            client.send(b"over").unwrap();
            number
        });
        // By the same hook, by the other, and back.
        for hook in ["tcx", "tcx", "clsact", "clsact", "tcx", "clsact", "tcx"] {
            let (said, _) = tunnel.xskip_ok(&format!("attach --interface {INTERFACE} --hook {hook}"));
            assert!(
                said.contains(&format!("attached to {INTERFACE} by {hook}, in the place of the one before")),
                "{said}"
            );
            assert_eq!(tunnel.status()["hook"], hook);
            let (tcx, filters, _) = tunnel.attached();
            let expected = if hook == "tcx" { (1, 0) } else { (0, 1) };
            assert_eq!((tcx.len(), filters.len()), expected, "one, by {hook}");
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(sender.join().unwrap() > 0);
    });
}

#[test]
fn it_outlives_the_command_and_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    let nothing = (Vec::new(), Vec::new(), false);
    assert_eq!(tunnel.attached(), nothing);
    for hook in ["", "--hook tcx", "--hook clsact"] {
        let options = format!("--interface {INTERFACE} {hook} --from 10.2.0.0/24 --from 10.2.0.1 --from fd00::1/8");
        tunnel.xskip_ok(&format!("attach {options}"));
        let status = tunnel.status();
        let expected_hook = if hook.contains("clsact") { "clsact" } else { "tcx" };
        assert_eq!((&status["hook"], &status["attached"]), (&expected_hook.into(), &true.into()));
        let settings = &status["settings"];
        assert_eq!(settings["addresses"], serde_json::json!([BACKEND_V4.to_string(), "2001:2:2::2"]));
        assert_eq!(settings["from"], serde_json::json!(["10.2.0.0/24", "10.2.0.1/32", "fd00::/8"]));
        assert_eq!(settings["vips"], serde_json::json!([VIP_V4.to_string(), VIP_V6.to_string()]));
        let text = tunnel.xskip_ok(&format!("status --interface {INTERFACE}")).0;
        for part in ["attached by", "tunnels end at  10.2.0.2, 2001:2:2::2", "10.2.0.0/24", "198.18.0.80, 2001:2::80"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        tunnel.xskip_ok(&format!("detach --interface {INTERFACE}"));
        assert_eq!(tunnel.attached(), nothing, "after {hook:?}");
        tunnel.refuses(&format!("detach --interface {INTERFACE}"), &["no program of xskip", "xskip backend attach"]);
        tunnel.refuses(&format!("status --interface {INTERFACE}"), &["no program of xskip", "xskip backend attach"]);
        let json = tunnel.xskip(&format!("status --interface {INTERFACE} --json"));
        assert_eq!(json.status.code(), Some(1));
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json, serde_json::json!({ "interface": INTERFACE, "attached": false }));
    }
}

/// An interface of the same name and index in another namespace is another interface.
#[test]
fn each_namespace_has_its_own() {
    if !is_root() {
        return;
    }
    let tunnels = [Tunnel::new(Wire::Segments), Tunnel::new(Wire::Segments)];
    let index = |tunnel: &Tunnel| tunnel.backend.run(|| Link::find(INTERFACE).unwrap().index).unwrap();
    assert_eq!(index(&tunnels[0]), index(&tunnels[1]), "the test is worth something");
    tunnels[0].xskip_ok(&format!("attach --interface {INTERFACE}"));
    tunnels[1].refuses(&format!("status --interface {INTERFACE}"), &["no program of xskip"]);
    tunnels[1].xskip_ok(&format!("attach --interface {INTERFACE} --vip 198.18.0.81"));
    tunnels[0].xskip_ok(&format!("detach --interface {INTERFACE}"));
    assert_eq!(tunnels[1].status()["settings"]["vips"], serde_json::json!(["198.18.0.81"]));
}

#[test]
fn programs_of_others_are_left_alone() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    // A filter that ends the list, in a qdisc that is theirs: ours comes before it.
    tunnel.backend_sh(&format!(
        "tc qdisc add dev {INTERFACE} clsact; tc filter add dev {INTERFACE} ingress bpf da bytecode \"1,6 0 0 0,\""
    ));
    let theirs = || tunnel.backend_sh(&format!("tc filter show dev {INTERFACE} ingress | grep -c bytecode"));
    let server = udp(&tunnel.backend, VIP_V4.into(), UDP_PORT);
    for hook in ["tcx", "clsact"] {
        tunnel.xskip_ok(&format!("attach --interface {INTERFACE} --hook {hook}"));
        assert_eq!(tunnel.status()["others"], 1);
        tunnel.inject(&[encapsulated(None, UDP_PORT, hook.as_bytes())]);
        assert_eq!(echo(&server).1, hook.as_bytes());
        tunnel.xskip_ok(&format!("detach --interface {INTERFACE}"));
        assert_eq!(theirs().trim(), "1");
        assert!(tunnel.attached().2, "the qdisc is theirs");
    }
    // One that was made for ours stays while somebody else uses it.
    tunnel.backend_sh(&format!("tc qdisc del dev {INTERFACE} clsact"));
    tunnel.xskip_ok(&format!("attach --interface {INTERFACE} --hook clsact"));
    tunnel.backend_sh(&format!("tc filter add dev {INTERFACE} egress bpf da bytecode \"1,6 0 0 0,\""));
    tunnel.xskip_ok(&format!("detach --interface {INTERFACE}"));
    assert_eq!(tunnel.attached(), (Vec::new(), Vec::new(), true));
}

/// Two that were attached at once, by two commands, are one to whoever looks, and go together.
#[test]
fn two_at_once_go_together() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    let attach = || {
        let link = Link::find(INTERFACE).unwrap();
        let program = BackendProgram::load(&BackendSettings::default()).unwrap();
        assert_eq!(About::program(program.as_fd()).unwrap().name, "xskip_backend");
        let list = Ingress::read(link.index).unwrap().unwrap();
        list.attach(link.index, program.as_fd(), None).unwrap();
        // What has changed since it was read is not changed blindly.
        let error = list.attach(link.index, program.as_fd(), None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::ESTALE as i32));
    };
    for _ in 0..2 {
        tunnel.backend.run(attach).unwrap();
    }
    assert_eq!(tunnel.attached().0.len(), 2);
    tunnel.xskip_ok(&format!("attach --interface {INTERFACE}"));
    assert_eq!(tunnel.attached().0.len(), 1, "the new one is alone");
    for _ in 0..2 {
        tunnel.backend.run(attach).unwrap();
    }
    tunnel.xskip_ok(&format!("detach --interface {INTERFACE}"));
    assert_eq!(tunnel.attached(), (Vec::new(), Vec::new(), false));
}

#[test]
fn what_is_in_the_way_is_said() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    let attach = format!("attach --interface {INTERFACE}");
    tunnel.backend_sh(&format!("sysctl -qw net.ipv4.conf.all.rp_filter=1; ip link set {INTERFACE} mtu 1500"));
    let (_, noted) = tunnel.xskip_ok(&attach);
    for part in ["--from", "arp_ignore=1", "arp_announce=2", "rp_filter=2", "MTU of b0 is 1500", "advmss 1392"] {
        assert!(noted.contains(part), "{part:?} in {noted}");
    }
    let vips = "--vip 198.18.0.99 --vip 2001:2:2::2 --address 10.2.0.9";
    let (_, noted) = tunnel.xskip_ok(&format!("{attach} {vips}"));
    for part in ["198.18.0.99/32 dev lo", "move it with `ip address add 2001:2:2::2/128 dev lo`", "at 10.2.0.9 so far"]
    {
        assert!(noted.contains(part), "{part:?} in {noted}");
    }
    // Whatever was advised helps.
    tunnel.backend_sh(&format!(
        "sysctl -qw net/ipv4/conf/{INTERFACE}/arp_ignore=1 net/ipv4/conf/{INTERFACE}/arp_announce=2 \
             net/ipv4/conf/{INTERFACE}/rp_filter=2; ip link set dev {INTERFACE} mtu 1548"
    ));
    assert_eq!(tunnel.xskip_ok(&format!("{attach} --from {BALANCER_V4}")).1, "");
    tunnel.backend_sh(&format!("ethtool -K {INTERFACE} rx-udp-gro-forwarding on >&2"));
    let (_, noted) = tunnel.xskip_ok(&format!("{attach} --from {BALANCER_V4}"));
    assert!(noted.contains("`ethtool -K b0 rx-udp-gro-forwarding off`"), "{noted}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    let attach = format!("attach --interface {INTERFACE}");
    for command in ["attach", "detach", "status"] {
        let words = format!("{command} --interface nowhere0");
        tunnel.refuses(&words, &["there is no interface nowhere0", "only lo, b0", "name one of these"]);
        let output = output_without_rights(&mut xskip(&["backend", command, "--interface", "lo"]));
        let parts: &[&str] =
            if command == "attach" { &["lo is not Ethernet"] } else { &["not permitted", "run as root"] };
        one_sentence(&output, command, parts);
    }
    tunnel.refuses("attach --interface lo", &["lo is not Ethernet", "name the interface by which packets come"]);
    for bad in ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "fe80::1", "::ffff:1.2.3.4", "255.255.255.255"] {
        tunnel.refuses(&format!("{attach} --vip {bad}"), &["no address that clients can reach", "--vip"]);
    }
    tunnel.backend_sh(&format!("ip address flush dev {INTERFACE}"));
    tunnel.refuses(&attach, &["b0 has no address that a tunnel could end at", "`ip address add`", "--address"]);
    tunnel.backend_sh(&format!("ip address del {VIP_V4}/32 dev lo; ip address del {VIP_V6}/128 dev lo"));
    tunnel.refuses(&attach, &["no virtual address is known", "`ip address add 198.18.0.80/32 dev lo`", "--vip"]);
    let many: String = (0..1_025).map(|number| format!(" --from 10.0.{}.{}", number / 256, number % 256)).collect();
    tunnel.refuses(&format!("{attach} --vip 198.18.0.80 --address 10.2.0.2{many}"), &["1025 senders", "1024 at most"]);
    assert_eq!(tunnel.attached(), (Vec::new(), Vec::new(), false), "nothing is attached after all that");
}

#[test]
fn a_program_in_a_tree_of_no_rights_attaches_nothing() {
    if !is_root() {
        return;
    }
    let tunnel = Tunnel::new(Wire::Segments);
    let words = ["backend", "attach", "--interface", INTERFACE];
    let output = tunnel.backend.run(|| output_without_rights(&mut xskip(&words))).unwrap();
    one_sentence(&output, "attach", &["not permitted to attach a tc program", "CAP_NET_ADMIN and CAP_SYS_ADMIN"]);
    assert_eq!(tunnel.attached(), (Vec::new(), Vec::new(), false));
}
