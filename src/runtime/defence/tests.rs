//! The policy in virtual time; and the defence's ticks on a loaded program, which needs root.

use super::{
    Guarded, ListenerDefence, Rotation, Setup, Watch,
    policy::{Cookies, Level, Policy, Sample},
};
use crate::{
    rng::SipKey,
    runtime::notice::Notices,
    tcp::cookie::MasterKey,
    time::Instant,
    worker::{Clock, Workers},
    xdp::{Action, Program, ProgramOptions, Service, Steering, SynAckFields},
};
use std::{net::SocketAddr, time::Duration};

struct Bench {
    policy: Policy,
    now: Instant,
}

impl Bench {
    fn new(cookies: Cookies) -> Self {
        Self { policy: Policy::new(cookies, Instant::ZERO), now: Instant::ZERO }
    }

    fn feed(&mut self, seconds: u64, lost_syns_per_second: u64, evictions: u64) -> Vec<(u64, Level)> {
        self.take(seconds, Sample { lost_syns_per_second, evictions, ..Sample::default() })
    }

    /// One sample again and again for some time; each change of level with its second.
    fn take(&mut self, seconds: u64, sample: Sample) -> Vec<(u64, Level)> {
        let begun = self.now;
        let mut changes = Vec::new();
        while self.now - begun < Duration::from_secs(seconds) {
            self.now += Duration::from_millis(100);
            if let Some(level) = self.policy.decide(self.now, sample) {
                changes.push(((self.now - begun).as_secs(), level));
            }
        }
        changes
    }
}

#[test]
fn without_pressure_nothing_changes() {
    let mut bench = Bench::new(Cookies::Auto);
    assert_eq!(bench.feed(1_000, 9_999, 0), []);
    assert_eq!(bench.policy.level(), Level::Cache);
}

#[test]
fn a_cache_that_overflows_leads_to_cookies_in_the_workers() {
    let mut bench = Bench::new(Cookies::Auto);
    assert_eq!(bench.feed(300, 5_000, 1), [(0, Level::Worker)], "once");
}

#[test]
fn a_flood_leads_to_xdp_at_once_and_back_in_steps() {
    let mut bench = Bench::new(Cookies::Auto);
    assert_eq!(bench.feed(60, 999_999, 9_000), [(0, Level::Xdp)]);
    assert_eq!(bench.feed(600, 100, 0), [(128, Level::Worker), (256, Level::Cache)]);
}

#[test]
fn a_deluge_leads_to_budgets() {
    let mut bench = Bench::new(Cookies::Auto);
    assert_eq!(bench.feed(1, 60_000, 0), [(0, Level::Xdp)]);
    assert_eq!(bench.feed(60, 1_000_000, 0), [(0, Level::Budget)]);
    assert_eq!(bench.feed(600, 0, 0), [(128, Level::Xdp), (256, Level::Worker), (384, Level::Cache)]);
}

#[test]
fn a_flood_that_pauses_keeps_the_defence_up() {
    let mut bench = Bench::new(Cookies::Auto);
    bench.feed(1, 1_000_000, 0);
    for _ in 0..20 {
        assert_eq!(bench.feed(100, 0, 0), []);
        assert_eq!(bench.feed(1, 60_000, 0), []);
    }
    assert_eq!(bench.feed(500, 20_000, 0), [], "nor does it go down while there is more than usual");
}

#[test]
fn strangers_who_begin_nothing_lead_to_xdp_and_no_further() {
    let mut bench = Bench::new(Cookies::Auto);
    let strangers = |strangers_per_second| Sample { strangers_per_second, ..Sample::default() };
    assert_eq!(bench.take(300, strangers(49_999)), [], "a server that was restarted has some for a while");
    assert_eq!(bench.take(60, strangers(1_470_000)), [(0, Level::Xdp)]);
    assert_eq!(bench.take(300, strangers(10_000)), [], "XDP counts those it drops: while they come it stays");
    assert_eq!(bench.take(600, strangers(9_999)), [(128, Level::Worker), (256, Level::Cache)]);
}

#[test]
fn what_is_set_stays_set() {
    for (cookies, level) in
        [(Cookies::Always, Level::Xdp), (Cookies::Worker, Level::Worker), (Cookies::Never, Level::Cache)]
    {
        let mut bench = Bench::new(cookies);
        assert_eq!((bench.feed(10, 1_000_000, 1_000), bench.feed(1_000, 0, 0)), (vec![], vec![]));
        assert_eq!(bench.policy.level(), level);
    }
}

#[test]
fn what_is_set_under_way_counts_at_once_and_pressure_begins_with_the_level_there_is() {
    let mut bench = Bench::new(Cookies::Never);
    for (cookies, level) in
        [(Cookies::Always, Level::Xdp), (Cookies::Worker, Level::Worker), (Cookies::Always, Level::Xdp)]
    {
        bench.policy.set(cookies, bench.now);
        assert_eq!((bench.policy.level(), bench.feed(300, 0, 0)), (level, vec![]));
    }
    bench.policy.set(Cookies::Auto, bench.now);
    assert_eq!(bench.feed(600, 0, 0), [(128, Level::Worker), (256, Level::Cache)], "as from a flood that is over");
}

#[test]
fn listeners_that_come_are_defended_and_those_that_go_are_forgotten() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: XDP needs root");
        return;
    }
    let program = Program::load(&Steering::default(), &ProgramOptions::default()).unwrap();
    let services = program.services();
    let fields =
        SynAckFields { mss: 1_460, window: 65_535, window_scale: 4, sack: true, hop_limit: 64, traffic_class: 0 };
    let [first, second, third] = [80, 81, 82].map(|port| SocketAddr::from(([198, 18, 0, 1], port)));
    services.serve(Service::tcp(first), Action::Listener(fields)).unwrap();
    let mut watch = Watch::new(Setup {
        cookies: Cookies::Always,
        syn_budget: None,
        programs: vec![Guarded { guard: program.guard().clone(), services: services.clone() }],
        master: MasterKey::new(SipKey::from_seed(1)),
        rotation: Rotation::Never,
        clock: Clock::start(),
        workers: Workers::default(),
        notices: Notices::new(None, false),
    })
    .unwrap();
    let defended = |watch: &Watch| -> Vec<(SocketAddr, Level)> {
        let records = watch.records.lock().unwrap();
        records.iter().map(|&ListenerDefence { listener, level, .. }| (listener, level)).collect()
    };
    assert_eq!(defended(&watch), [(first, Level::Xdp)]);
    services.serve(Service::tcp(second), Action::Listener(fields)).unwrap();
    watch.tick().unwrap();
    assert_eq!(services.get(Service::tcp(second)), Some(Action::Guarded(fields)), "SYNs are answered from now on");
    assert_eq!(defended(&watch), [(first, Level::Xdp), (second, Level::Xdp)]);
    // One that goes and one that comes within a tick.
    assert!(services.forget(Service::tcp(first)));
    services.serve(Service::tcp(third), Action::Listener(fields)).unwrap();
    watch.tick().unwrap();
    assert_eq!(defended(&watch), [(second, Level::Xdp), (third, Level::Xdp)]);
    assert_eq!(services.get(Service::tcp(first)), None, "the defence brings nothing back");
}
