//! What the backend's tc program costs a packet, by the kernel's own clock (BPF_PROG_TEST_RUN). Needs root.
//!
//! A trial repeated meets the frame as the last one left it, so a tunnel is measured on packets that are in a hundred tunnels of one kind,
//! one in the other: each repetition takes one off.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};
use xskip_cli::{
    bpf::{BackendMaster, BackendProgram, BackendSettings},
    rng::SipKey,
    wire::checksum::Checksum,
    xdp::tc::Trial,
};

/// Both end of the tunnels and virtual address, so that what was inside is taken off in its turn.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 80);
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const TUNNELS: u32 = 100;
const ROUNDS: usize = 2_000;
/// Repetitions of a frame that is passed.
const REPEAT: u32 = 1_000_000;

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    header.extend(SENDER.octets());
    header.extend(ADDRESS.octets());
    let field = Checksum::of(&header).field();
    header[10..12].copy_from_slice(&field);
    [header, payload.to_vec()].concat()
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    [&[40_000, port, 8 + payload.len() as u16, 0].map(u16::to_be_bytes).concat(), payload].concat()
}

fn frame(packet: Vec<u8>) -> Vec<u8> {
    [&[2; 12][..], &[8, 0], &packet].concat()
}

/// A packet in so many tunnels.
fn nested(tunnel: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    frame((0..TUNNELS).fold(ipv4(6, &[0; 20]), |packet, _| tunnel(&packet)))
}

fn measure(program: &BackendProgram, what: &str, frame: &[u8], repeat: u32, rounds: usize) {
    let run = || program.try_on(Trial { frame, repeat, ..Trial::default() }).expect("the kernel tries it").duration;
    let mut durations: Vec<Duration> = (0..rounds).map(|_| run()).collect();
    durations.sort();
    let (least, median) = (durations[0], durations[durations.len() / 2]);
    println!("{what:<44} {:>6} ns at best, {:>6} ns in the median", least.as_nanos(), median.as_nanos());
}

fn main() {
    let settings = |senders: &[(Ipv4Addr, u8)]| BackendSettings {
        tunnel_ends: vec![ADDRESS.into()],
        vips: vec![ADDRESS.into()],
        senders: senders.iter().map(|&(address, length)| (address.into(), length)).collect(),
        ..BackendSettings::default()
    };
    let (tcp, other_udp) = (frame(ipv4(6, &[0; 20])), frame(ipv4(17, &udp(53, &[0; 20]))));
    let ipip = nested(|packet| ipv4(4, packet));
    let gue = nested(|packet| ipv4(17, &udp(6_080, packet)));
    for (who, senders) in [("from anybody", &[][..]), ("from one prefix", &[(SENDER, 24)])] {
        let program = BackendProgram::load(&settings(senders)).expect("root may load it");
        measure(&program, &format!("passed: TCP, {who}"), &tcp, REPEAT, 5);
        measure(&program, &format!("passed: UDP to another port, {who}"), &other_udp, REPEAT, 5);
        measure(&program, &format!("taken off: IPIP, 4 in 4, {who}"), &ipip, TUNNELS, ROUNDS);
        measure(&program, &format!("taken off: GUE, 4 in 4, {who}"), &gue, TUNNELS, ROUNDS);
        let tallies = program.tallies().expect("root may read them");
        assert!(tallies.ipip_4in4 == tallies.gue_4in4 && tallies.gue_4in4 as usize == TUNNELS as usize * ROUNDS);
    }
    hand_over(&settings(&[]));
}

/// A segment with ACK, and numbers that mean nothing.
fn segment(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    frame(ipv4(6, &[&[0x9c, 0x40, high, low], &[7; 8][..], &[0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]].concat()))
}

/// What it costs besides where handshakes are taken over: to whom nobody listens, and to a listener with a cookie that is none.
fn hand_over(settings: &BackendSettings) {
    if !BackendProgram::can_adopt().expect("root may ask") {
        return println!("this kernel takes no handshakes over");
    }
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("some port is free");
    let port = listener.local_addr().expect("it has one").port();
    let master = Some(BackendMaster::present(SipKey::from_seed(1)));
    for (who, master) in [("without a secret", None), ("with one", master)] {
        let settings = BackendSettings { master, ..settings.clone() };
        let program = BackendProgram::load(&settings).expect("root may load it");
        measure(&program, &format!("passed: a segment without a socket, {who}"), &segment(1), REPEAT, 5);
        // For less than the five seconds after which the kernel may see it.
        if settings.master.is_some() {
            measure(&program, &format!("dropped: a wrong cookie, {who}"), &segment(port), REPEAT / 5, 5);
            let dropped = program.tallies().expect("root may read them").dropped_cookie;
            assert_eq!(dropped, u64::from(REPEAT));
        }
    }
}
