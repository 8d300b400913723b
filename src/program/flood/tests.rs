use super::{FloodError, FloodKind, FloodOptions, Prefix, draft::Way, stamp::Stamper};
use crate::{
    bpf::{FloodPlan, FloodProgram, FloodTemplate},
    drops::DropReason,
    wire::{self, ChecksumPolicy, Packet, TcpFlags},
};
use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

const TARGETS: [&str; 2] = ["198.18.0.1:80", "[2001:2::1]:80"];

fn plan(target: &str, kind: FloodKind) -> FloodPlan {
    plan_with(target, kind, |_| ())
}

fn plan_with(target: &str, kind: FloodKind, change: impl FnOnce(&mut FloodOptions)) -> FloodPlan {
    let target = target.parse().unwrap();
    let way = Way { source_mac: [2, 0, 0, 0, 0, 2], target_mac: [2, 0, 0, 0, 0, 1], target };
    let mut options = FloodOptions::new("veth0", target, kind);
    change(&mut options);
    options.plan_for(&way).unwrap()
}

/// The first frames of a plan.
fn frames(plan: &FloodPlan, count: usize) -> Vec<Vec<u8>> {
    let mut stamper = Stamper::new(plan);
    let mut next = || {
        let mut buffer = vec![0xee; FloodTemplate::MAX_LEN];
        let length = stamper.next(&mut buffer);
        buffer.truncate(length);
        buffer
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn every_frame_of_the_right_kinds_is_a_right_segment() {
    for target in TARGETS {
        for kind in FloodKind::ALL.into_iter().filter(|kind| *kind != FloodKind::Malformed) {
            let plan = plan(target, kind);
            let sources = Prefix::default_for(target.parse::<SocketAddr>().unwrap().ip());
            let mut seen = HashSet::new();
            for frame in frames(&plan, 200) {
                let parsed = wire::parse(&frame, ChecksumPolicy::Verify).unwrap();
                let Packet::Tcp(ip, segment) = parsed.packet else { panic!("{kind}: no TCP") };
                assert!(sources.contains(ip.source), "{}", ip.source);
                assert_eq!(SocketAddr::new(ip.destination, segment.header.destination_port).to_string(), target);
                assert!(segment.header.source_port >= 1_024);
                assert!(has_flags_of(kind, segment.header.flags), "{kind}: {}", segment.header.flags);
                seen.insert((ip.source, segment.header.source_port, segment.header.seq));
            }
            assert_eq!(seen.len(), 200, "{kind} to {target}: no two are alike");
        }
    }
}

fn has_flags_of(kind: FloodKind, flags: TcpFlags) -> bool {
    let is = |all: &[TcpFlags]| all.contains(&flags);
    match kind {
        FloodKind::Syn => is(&[TcpFlags::SYN]),
        FloodKind::Ack => is(&[TcpFlags::ACK]),
        FloodKind::Rst => is(&[TcpFlags::RST, TcpFlags::RST | TcpFlags::ACK]),
        FloodKind::Fin => is(&[TcpFlags::FIN | TcpFlags::ACK]),
        FloodKind::Data => is(&[TcpFlags::PSH | TcpFlags::ACK]),
        FloodKind::SynAck => is(&[TcpFlags::SYN | TcpFlags::ACK]),
        FloodKind::Mixed | FloodKind::Malformed => true,
    }
}

#[test]
fn syns_offer_what_real_clients_do() {
    for (target, mss) in TARGETS.into_iter().zip([1_460, 1_440]) {
        let offers: Vec<_> = frames(&plan(target, FloodKind::Syn), 4)
            .iter()
            .map(|frame| {
                let Packet::Tcp(_, segment) = wire::parse(frame, ChecksumPolicy::Verify).unwrap().packet else {
                    panic!("no TCP")
                };
                let options = segment.header.options;
                assert_eq!(options.mss, Some(mss));
                (options.window_scale, options.sack_permitted, options.timestamps.is_some(), segment.header.window)
            })
            .collect();
        let [linux, windows, macos, bare] = offers[..] else { panic!("four of them") };
        assert_eq!(linux, (Some(7), true, true, 64_240));
        assert_eq!(windows, (Some(8), true, false, 64_240));
        assert_eq!(macos, (Some(6), true, true, 65_535));
        assert_eq!(bare, (None, false, false, 8_192));
    }
}

#[test]
fn a_mixed_flood_has_every_right_kind() {
    let frames = frames(&plan(TARGETS[0], FloodKind::Mixed), 20);
    let flags: HashSet<_> = frames
        .iter()
        .filter_map(|frame| match wire::parse(frame, ChecksumPolicy::Verify).unwrap().packet {
            Packet::Tcp(_, segment) => Some(segment.header.flags),
            _ => None,
        })
        .collect();
    assert_eq!(flags.len(), 7, "SYN, ACK, RST, RST+ACK, FIN+ACK, PSH+ACK, SYN+ACK");
}

#[test]
fn malformed_frames_break_many_rules() {
    for target in TARGETS {
        let plan = plan(target, FloodKind::Malformed);
        let refused: HashSet<DropReason> = frames(&plan, plan.templates.len())
            .iter()
            .filter_map(|frame| wire::parse(frame, ChecksumPolicy::Verify).err())
            .collect();
        assert!(refused.len() >= 7, "{target}: {refused:?}");
        assert!(plan.templates.len() <= 64);
    }
}

#[test]
fn what_is_fixed_is_not_random() {
    let sources: Vec<Prefix> = vec!["192.0.2.7/32".parse().unwrap(), "198.51.100.0/24".parse().unwrap()];
    let plan = plan_with(TARGETS[0], FloodKind::Ack, |options| {
        options.sources.clone_from(&sources);
        options.source_port = 53;
    });
    let mut counts = [0; 2];
    for frame in frames(&plan, 1_000) {
        let Packet::Tcp(ip, segment) = wire::parse(&frame, ChecksumPolicy::Verify).unwrap().packet else {
            panic!("no TCP")
        };
        assert_eq!(segment.header.source_port, 53);
        counts[sources.iter().position(|prefix| prefix.contains(ip.source)).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| *count > 400), "{counts:?}");
}

#[test]
fn the_xdp_program_stamps_as_we_do() {
    for target in TARGETS {
        for kind in FloodKind::ALL {
            let plan = plan_with(target, kind, |options| options.seed = 77);
            let Ok(program) = FloodProgram::load(&plan) else {
                println!("SKIPPED: no right to load an XDP program");
                return;
            };
            for (index, frame) in frames(&plan, 3 * plan.templates.len()).iter().enumerate() {
                assert_eq!(program.test_run().unwrap(), (3, frame.clone()), "{kind} {index}");
            }
            assert_eq!(program.sent(), 3 * plan.templates.len() as u64);
            program.stop();
            assert_eq!(program.test_run().unwrap().0, 1, "nothing is sent any more");
        }
    }
}

#[test]
fn prefixes_as_they_are_typed() {
    let parse = |text: &str| text.parse::<Prefix>();
    assert_eq!(parse("198.19.0.0/16").unwrap().to_string(), "198.19.0.0/16");
    assert_eq!(parse("::/0").unwrap().to_string(), "::/0");
    for bad in ["198.19.0.0", "198.19.0.0/33", "2001:2::/129", "x/8", "198.19.0.1/16", "198.19.0.0/-1"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    let inside: IpAddr = "198.19.255.255".parse().unwrap();
    assert!(parse("198.19.0.0/16").unwrap().contains(inside));
    assert!(!parse("198.18.0.0/16").unwrap().contains(inside));
    assert!(parse("0.0.0.0/0").unwrap().contains(inside));
    assert!(!parse("::/0").unwrap().contains(inside), "that would be another IP version");
    assert_eq!(Prefix::around(inside, 17).to_string(), "198.19.128.0/17");
    assert_eq!(Prefix::around("2001:2::7".parse().unwrap(), 64).to_string(), "2001:2::/64");
}

#[test]
fn kinds_as_they_are_typed() {
    for kind in FloodKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let said = "sin".parse::<FloodKind>().unwrap_err();
    assert!(said.contains("syn, ack, rst, fin, data, syn-ack, mixed, malformed"), "{said}");
}

#[test]
fn numbers_beyond_the_limits_are_refused_by_name() {
    let refused = |change: fn(&mut FloodOptions)| {
        let mut options = FloodOptions::new("no-such-interface", TARGETS[0].parse().unwrap(), FloodKind::Syn);
        change(&mut options);
        options.plan().unwrap_err().to_string()
    };
    assert!(refused(|options| options.rate = Some(0)).starts_with("the rate cannot be 0"));
    assert!(refused(|options| options.duration = Duration::ZERO).starts_with("the duration"));
    assert!(refused(|options| options.duration = Duration::from_secs(3_601)).starts_with("the duration"));
    assert!(refused(|options| options.target.set_port(0)).starts_with("the target's port"));
    assert!(refused(|options| options.sources = vec!["::/0".parse().unwrap(); 9]).starts_with("the number of source"));
    assert!(refused(|_| ()).starts_with("there is no interface no-such-interface"));
    let way = Way { source_mac: [0; 6], target_mac: [0; 6], target: TARGETS[0].parse().unwrap() };
    let mut options = FloodOptions::new("veth0", way.target, FloodKind::Syn);
    options.sources.push("2001:2::/64".parse().unwrap());
    assert!(matches!(options.plan_for(&way), Err(FloodError::OtherVersion { .. })));
}
