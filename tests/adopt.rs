//! Handshakes that a balancer has answered, ended at a backend: its kernel adopts the connections. Needs root.

mod common;

use common::{
    handover::{Client, EVERYTHING, Site, accept, accepts_nobody, answered, converse, counted, key_file, vips},
    is_root,
    tunnel::{INTERFACE, Kind, VIP_V4},
    wait_until, xskip,
};
use std::os::unix::fs::PermissionsExt;
use xskip_cli::{rng::SipKey, tcp::handshake::Offer, wire::TcpFlags};

#[test]
fn a_connection_begins_with_the_end_of_its_handshake() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    for (count, vip) in (1..).zip(vips()) {
        let listener = site.listen(vip);
        let mut client = site.client(vip, 40_000, EVERYTHING);
        site.send(&[client.acknowledgment()]);
        let (mut stream, from) = accept(&listener);
        assert_eq!(from, client.ours);
        converse(&site, &mut client, &mut stream);
        counted(&site, &[("adopted", count)]);
    }
}

/// Where the acknowledgment is lost, the data behind it do as well.
#[test]
fn the_first_data_end_a_handshake_too() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let listener = site.listen(VIP_V4.into());
    let mut client = site.client(VIP_V4.into(), 40_000, EVERYTHING);
    site.send(&[client.data(b"question")]);
    answered(&site, &mut client, &mut accept(&listener).0);
    counted(&site, &[("adopted", 1)]);
}

/// What `ss` says of a connection's options is what the client has offered and the cookie has kept.
#[test]
fn both_ends_agree_on_the_options() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let plain = Offer { mss: 1_460, window_scale: None, sack: false, ecn: false, timestamps: false };
    let clocks = Offer { timestamps: true, ..plain };
    for (port, (offer, has, has_not)) in (40_000..).zip([
        (EVERYTHING, &[" ts ", " sack ", "wscale:9,7", "mss:1448"][..], &[][..]),
        (Offer { sack: false, ..EVERYTHING }, &[" ts ", "wscale:9,7", "mss:1448"], &[" sack"]),
        (Offer { window_scale: None, ..EVERYTHING }, &[" ts ", " sack ", "mss:1448"], &["wscale"]),
        (Offer { window_scale: Some(0), ..EVERYTHING }, &["wscale:0,7"], &[]),
        (Offer { window_scale: Some(14), mss: 1_400, ..EVERYTHING }, &["wscale:14,7", "mss:1388"], &[]),
        (Offer { mss: 536, ..clocks }, &[" ts ", "mss:524"], &[" sack", "wscale"]),
        // Without timestamps, what one of the four profiles says.
        (Offer { timestamps: false, ..EVERYTHING }, &[" sack ", "wscale:8,7", "mss:1460"], &[" ts "]),
        (
            Offer { mss: 1_380, window_scale: Some(7), sack: true, ..plain },
            &[" sack ", "wscale:7,7", "mss:1300"],
            &[" ts "],
        ),
        (plain, &["mss:1440"], &[" ts ", " sack", "wscale"]),
        (Offer { mss: 1_000, ..plain }, &["mss:536"], &[" ts ", " sack", "wscale"]),
    ]) {
        let listener = site.listen(VIP_V4.into());
        let mut client = site.client(VIP_V4.into(), port, offer);
        site.send(&[client.acknowledgment()]);
        let (mut stream, _) = accept(&listener);
        let all = site.connections();
        let [said] = &all[..] else { panic!("one connection: {all:?}") };
        let said = format!("{said} ");
        assert!(has.iter().all(|part| said.contains(part)), "{offer:?}: {said}");
        assert!(!has_not.iter().any(|part| said.contains(part)), "{offer:?}: {said}");
        converse(&site, &mut client, &mut stream);
        site.send(&[client.segment(TcpFlags::RST | TcpFlags::ACK, &[])]);
        wait_until("the connection is gone", || site.connections().is_empty());
    }
    for (profile, mss) in [(1_220, 1_220), (1_430, 1_420), (1_440, 1_440)] {
        let listener = site.listen(vips()[1]);
        let offer =
            Offer { timestamps: false, mss: profile, window_scale: (profile == 1_440).then_some(8), ..EVERYTHING };
        let mut client = site.client(vips()[1], 50_000 + profile, offer);
        site.send(&[client.acknowledgment()]);
        let (_stream, _) = accept(&listener);
        assert!(site.connections()[0].contains(&format!("mss:{mss} ")), "{:?}", site.connections());
        site.send(&[client.segment(TcpFlags::RST | TcpFlags::ACK, &[])]);
        wait_until("the connection is gone", || site.connections().is_empty());
    }
}

/// The server's timestamps go on where the SYN-ACK's was.
#[test]
fn clocks_go_on_from_the_cookie() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let listener = site.listen(VIP_V4.into());
    let mut client = site.client(VIP_V4.into(), 40_000, EVERYTHING);
    let told = client.timestamps.unwrap();
    site.send(&[client.data(b"question")]);
    let answer = site.hear(&client);
    let clocks = answer.header.options.timestamps.unwrap();
    assert!(clocks.value.wrapping_sub(told.echo) < 20_000, "{clocks:?} after {told:?}");
    assert_eq!(clocks.echo, told.value);
    drop(accept(&listener));
}

#[test]
fn it_works_in_every_tunnel_and_beside_a_tag() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    for (port, kind) in (40_000..).zip(Kind::all()) {
        let listener = site.listen(kind.vip());
        let mut client = site.client(kind.vip(), port, EVERYTHING);
        site.send_in(kind, &client.acknowledgment());
        let (mut stream, _) = accept(&listener);
        let question = client.data(b"question");
        site.send_in(kind, &question);
        answered(&site, &mut client, &mut stream);
        assert_eq!(site.count(&kind.name()), 2, "{kind:?}");
    }
    assert_eq!(site.count("adopted"), 8);
    // A priority tag, which the kernel keeps beside the frame.
    let listener = site.listen(VIP_V4.into());
    let mut client = site.client(VIP_V4.into(), 50_000, EVERYTHING);
    let frame = client.acknowledgment();
    site.send(&[[&frame[..12], &[0x81, 0, 0, 0], &frame[12..]].concat()]);
    converse(&site, &mut client, &mut accept(&listener).0);
    assert_eq!(site.count("adopted"), 9);
}

#[test]
fn what_is_no_cookie_opens_nothing_and_draws_nothing() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let vip = VIP_V4.into();
    let listener = site.listen(vip);
    let good = site.client(vip, 40_000, EVERYTHING);
    let mut wrong: Vec<Client> = (0..4).map(|_| good.clone()).collect();
    wrong[0].expected = good.expected.advance(1);
    wrong[1].next = good.next.advance(1);
    wrong[2].timestamps.as_mut().unwrap().echo ^= 1 << 16;
    wrong[3].timestamps = None;
    // Of another port, another master, and clocks that are too far apart.
    wrong.push(Client { ours: (good.ours.ip(), 40_001).into(), ..good.clone() });
    wrong.push(site.client_with(SipKey::random().unwrap(), 0, vip, 40_002, EVERYTHING));
    wrong.push(site.client_with(site.key, -4 * 64, vip, 40_003, EVERYTHING));
    wrong.push(site.client_with(site.key, 3 * 64, vip, 40_004, EVERYTHING));
    for (count, mut client) in (1..).zip(wrong) {
        site.send(&[client.data(b"question")]);
        counted(&site, &[("dropped_cookie", count)]);
        assert!(site.hear_within(&client, std::time::Duration::from_millis(50)).is_none(), "not even a RST");
    }
    accepts_nobody(&listener);
    // Those that count: of this epoch and the one before.
    for (port, seconds) in [(50_000, 0), (50_001, -64)] {
        let mut client = site.client_with(site.key, seconds, vip, port, EVERYTHING);
        site.send(&[client.data(b"question")]);
        answered(&site, &mut client, &mut accept(&listener).0);
    }
    counted(&site, &[("adopted", 2), ("dropped_cookie", 8)]);
}

/// Segments that are none of its business are left to the kernel: without a listener, without an ACK, for other addresses.
#[test]
fn the_kernel_answers_all_else() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let mut client = site.client(VIP_V4.into(), 40_000, EVERYTHING);
    site.send(&[client.acknowledgment()]);
    assert!(site.hear(&client).is_reset(), "nobody listens");
    let listener = site.listen(VIP_V4.into());
    let mut client = site.client(VIP_V4.into(), 40_001, EVERYTHING);
    site.send(&[client.segment(TcpFlags::SYN, &[])]);
    let answer = site.hear(&client);
    assert!(answer.header.flags.contains(TcpFlags::SYN | TcpFlags::ACK), "a SYN is the kernel's");
    client.next = answer.header.ack;
    client.expected = answer.header.seq.advance(1);
    client.timestamps = None;
    site.send(&[client.acknowledgment()]);
    converse(&site, &mut client, &mut accept(&listener).0);
    let own = std::net::Ipv4Addr::new(10, 2, 0, 2).into();
    let _listener = site.listen(own);
    let mut client = site.client(own, 40_002, EVERYTHING);
    site.send(&[client.acknowledgment()]);
    assert!(site.hear(&client).is_reset(), "no virtual address");
    counted(&site, &[]);
}

/// A kernel that has to forget SYNs (tcp_syncookies 2) knows its own cookies again.
#[test]
fn the_kernels_own_cookies_count_as_well() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.tunnel.backend_sh("sysctl -qw net.ipv4.tcp_syncookies=2");
    for (count, vip) in (1..).zip(vips()) {
        let listener = site.listen(vip);
        let mut client = site.client(vip, 40_000, EVERYTHING);
        client.timestamps = None;
        site.send(&[client.segment(TcpFlags::SYN, &[])]);
        let answer = site.hear(&client);
        client.next = answer.header.ack;
        client.expected = answer.header.seq.advance(1);
        site.send(&[client.acknowledgment()]);
        converse(&site, &mut client, &mut accept(&listener).0);
        counted(&site, &[("passed_own_cookie", count)]);
    }
}

/// Backends get a new master first: the cookies of balancers that have the one before are good for a while.
#[test]
fn the_master_before_counts_beside_the_new_one() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let vip = VIP_V4.into();
    let listener = site.listen(vip);
    let (old, new, stranger) = (site.key, SipKey::random().unwrap(), SipKey::random().unwrap());
    let try_with = |key, port| {
        let mut client = site.client_with(key, 0, vip, port, EVERYTHING);
        site.send(&[client.data(b"question")]);
        client
    };
    let file = key_file(new);
    site.attach(&file);
    let text = site.status("");
    assert!(text.contains("hand-over       on") && text.contains("former master   counts for another 1 h"), "{text}");
    for (port, key) in [(40_000, old), (40_001, new)] {
        let mut client = try_with(key, port);
        answered(&site, &mut client, &mut accept(&listener).0);
    }
    try_with(stranger, 40_002);
    counted(&site, &[("adopted", 2), ("dropped_cookie", 1)]);
    // Attached once more with the same, it has both still; with a third one, the first is gone.
    site.attach(&file);
    let mut client = try_with(old, 40_003);
    answered(&site, &mut client, &mut accept(&listener).0);
    site.attach(&key_file(stranger));
    try_with(old, 40_004);
    counted(&site, &[("dropped_cookie", 1)]);
    let mut client = try_with(new, 40_005);
    answered(&site, &mut client, &mut accept(&listener).0);
}

#[test]
fn detached_or_without_a_master_nothing_is_taken_over() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let vip = VIP_V4.into();
    let listener = site.listen(vip);
    let mut first = site.client(vip, 40_000, EVERYTHING);
    site.send(&[first.acknowledgment()]);
    let (mut stream, _) = accept(&listener);
    let settings = site.json()["settings"].clone();
    assert_eq!((&settings["handover"], &settings["former_master_until"]), (&true.into(), &serde_json::Value::Null));
    for (port, command) in [(40_001, "attach"), (40_002, "detach")] {
        let words = ["backend", command, "--interface", INTERFACE];
        assert!(site.tunnel.backend.run(|| xskip(&words).output().unwrap()).unwrap().status.success());
        let mut client = site.client(vip, port, EVERYTHING);
        site.send(&[client.acknowledgment()]);
        assert!(site.hear(&client).is_reset(), "after {command} the kernel answers");
        if command == "attach" {
            assert_eq!(site.json()["settings"]["handover"], false);
        }
    }
    accepts_nobody(&listener);
    // What was taken over is the kernel's for good.
    converse(&site, &mut first, &mut stream);
}

#[test]
fn what_a_hand_over_needs_is_refused_or_advised() {
    if !is_root() {
        return;
    }
    let site = Site::unattached();
    let refused = |file: &tempfile::NamedTempFile, parts: &[&str]| {
        let output = site.try_attach(file, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.lines().count() == 1, "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} in {said}");
    };
    let set = |name: &str, value: u32| drop(site.tunnel.backend_sh(&format!("sysctl -qw net.ipv4.{name}={value}")));
    set("tcp_syncookies", 0);
    refused(&site.key_file, &["while SYN cookies are off", "`sysctl -w net.ipv4.tcp_syncookies=1`"]);
    set("tcp_syncookies", 1);
    let empty = tempfile::NamedTempFile::new().unwrap();
    refused(&empty, &["no secret for cookies", "32 hexadecimal digits"]);
    let missing = tempfile::NamedTempFile::new().unwrap();
    std::fs::remove_file(missing.path()).unwrap();
    refused(&missing, &["no secret for cookies", "there is no such file"]);
    let noted = site.attach(&site.key_file);
    for name in ["tcp_timestamps", "tcp_sack", "tcp_window_scaling", "tcp_rfc1337", "MPTCP", "chmod"] {
        assert!(!noted.contains(name), "{name} in {noted}");
    }
    std::fs::set_permissions(site.key_file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(site.attach(&site.key_file).contains("others may read the cookies' master key"));
    for (name, wrong, right) in
        [("tcp_timestamps", 0, 1), ("tcp_sack", 0, 1), ("tcp_window_scaling", 0, 1), ("tcp_rfc1337", 1, 0)]
    {
        set(name, wrong);
        let noted = site.attach(&site.key_file);
        assert!(noted.contains(&format!("run `sysctl -w net.ipv4.{name}={right}`")), "{noted}");
        set(name, right);
    }
}
