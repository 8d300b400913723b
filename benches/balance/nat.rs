//! What it costs to rewrite packets of many flows: the program's time a packet as the kernel accounts it, where each is run once
//! (`BPF_PROG_TEST_RUN`), so that the tables of flows are as far from the cores as they are in life; and their memory.

use super::{Tables, key, timed};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    os::fd::AsRawFd,
};
use xskip_cli::{
    host::cores::Cores,
    lb::{BackendId, Mode, NatSettings, Way},
    rng::SipKey,
    wire::MacAddress,
    xdp::{self, Balance, BalanceOptions, Program, ProgramOptions, Steering},
};

const FLOWS: u32 = 200_000;
const VIP: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 18, 0, 80), 443);
/// As many as are held at a time, in the largest table there is.
const HELD: u32 = 10_000_000;
const LARGEST: u32 = 16 << 20;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = 0x12;

fn settings(flows: u32) -> NatSettings {
    let sources: Vec<IpAddr> = (1..=4).map(|last| IpAddr::from([198, 18, 2, last])).collect();
    NatSettings::new(key().of_flows(), flows, Cores::read().expect("cores").end() as u32, &sources)
}

fn frame(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8) -> Vec<u8> {
    let link = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let ip = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    [&link[..], &ip, &from.0.octets(), &to.0.octets(), &ports, &rest].concat()
}

fn client(number: u32) -> (Ipv4Addr, u16) {
    (Ipv4Addr::from(0xcb00_0000 + number), 40_000)
}

fn tables(mode: Mode, backends: u16, flows: u32) -> Tables {
    let mut tables = Tables::new("198.18.0.80:443", mode, backends);
    let options = BalanceOptions { nat: Some(settings(flows)), ..BalanceOptions::default() };
    tables.balance = Balance::new(&key(), &options).expect("maps");
    let way = Way {
        interface: 1,
        next_hop: MacAddress([2, 0, 0, 0, 0, 9]),
        ours: MacAddress([2, 0, 0, 0, 0, 8]),
        mtu: 1_500,
        source: "198.18.1.200".parse().expect("an address"),
    };
    tables.balance.publish(&tables.balancer, &|_: BackendId| Some(way)).expect("room");
    tables
}

pub fn compare() {
    println!("\nthe program's time a packet, each of another one of {FLOWS} flows");
    let time = |name: &str, program: &Program, frames: Vec<Vec<u8>>| {
        let run = |frame: &Vec<u8>| assert_ne!(program.test_run(frame).expect("a run").0, 1, "{name}: dropped");
        let nanos = timed("steer", || frames.iter().for_each(run));
        println!("{name:<34} {nanos:>10.0} ns");
    };
    for mode in [Mode::Dsr, Mode::Nat] {
        let tables = tables(mode, 10, 1 << 19);
        let program = load(&tables);
        let all = |flags: u8| (0..FLOWS).map(|number| frame(client(number), VIP, flags)).collect();
        time(&format!("{mode}, SYNs"), &program, all(SYN));
        time(&format!("{mode}, segments"), &program, all(ACK));
        if mode == Mode::Nat {
            time("nat, answers", &program, answers(&tables.balance));
            time("nat, segments of open flows", &program, all(ACK));
        }
    }
}

fn load(tables: &Tables) -> Program {
    let nat = settings(64);
    let steering = Steering {
        own: nat.sources(true).iter().copied().chain([tables.target.ip()]).collect(),
        ..Steering::default()
    };
    let options = ProgramOptions::default();
    let key = SipKey::from_seed(2);
    let program =
        Program::load_with(&steering, &options, key, &xdp::Tables { balance: Some(&tables.balance), splices: None })
            .expect("a program");
    let id = tables.balancer.service("web").expect("a service");
    let frames = xdp::Service { local: tables.target, transport: xdp::Transport::Tcp };
    program.services().steer(frames, id.index() as u32, (&tables.services[0]).into()).expect("room");
    for &source in nat.sources(true) {
        program.services().answer_clients(source, nat.number_of(source).expect("a source")).expect("room");
    }
    program
}

/// What the backends say to each of the flows.
fn answers(balance: &Balance) -> Vec<Vec<u8>> {
    let table = balance.nat().expect("a table");
    let flows = (0..table.settings().flows()).filter_map(|number| table.get(number));
    let answer = flows.map(|flow| {
        let source = table.settings().source(flow.source);
        let (IpAddr::V4(backend), Some(IpAddr::V4(source))) = (flow.backend.address, source) else {
            unreachable!("all of it is IPv4")
        };
        frame((backend, flow.backend.port), (source, flow.port), SYN_ACK)
    });
    answer.collect()
}

/// Has ten million flows opened, says how long the last million took, and counts those that are there.
pub fn hold() {
    let tables = tables(Mode::Nat, 200, LARGEST);
    let program = load(&tables);
    let open = |numbers: Range<u32>| {
        numbers.for_each(|number| _ = program.test_run(&frame(client(number), VIP, SYN)).expect("a run"));
    };
    open(0..HELD / 10 * 9);
    let nanos = timed("steer", || open(HELD / 10 * 9..HELD));
    let table = tables.balance.nat().expect("a table");
    let held = (0..LARGEST).filter(|&number| table.get(number).is_some()).count();
    println!("{held} of {HELD} flows are held at a time; a SYN among the last {}: {nanos:.0} ns", HELD / 10);
    memory(&tables.balance);
}

/// What a table takes, as the kernel accounts it.
fn memory(balance: &Balance) {
    let held = |fd: std::os::fd::BorrowedFd<'_>| -> u64 {
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).expect("it is open");
        let memory = told.lines().find_map(|line| line.strip_prefix("memlock:")).expect("it is a map");
        memory.trim().parse().expect("a number")
    };
    let octets: u64 = balance.nat_maps().map(held).sum();
    let flows = balance.nat().expect("a table").settings().flows();
    println!("memory of {flows} flows: {} MiB, {} octets each", octets >> 20, octets / u64::from(flows));
}
