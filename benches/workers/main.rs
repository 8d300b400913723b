//! What it costs to speak to a worker, to look at it and to wake it, while it serves and while it rests.
//!
//! `cargo bench --bench workers` measures it in a lab of its own, and needs root and wrk. The worker is on core 0, everything else on
//! core 1. Turns of two seconds alternate, with and without; what is told is the median of the ratios of neighbours.

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::eventfd::EventFd,
};
use std::{
    fs,
    os::fd::AsFd,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use xskip_cli::{
    Application, Context, Event, Server,
    app::{Http, Services},
    host::cores,
    lab::{INTERFACE, Lab, LabOptions},
    runtime::Running,
    worker::{CommandError, WorkerHandle},
};

const PAIRS: usize = 21;
const TURN: &str = "2s";
/// Between two commands: a thousand a second.
const PACE: Duration = Duration::from_millis(1);
/// How often a snapshot is looked at.
const GLANCE: Duration = Duration::from_millis(100);
const WAKE_UPS: usize = 2_000;
const REST: Duration = Duration::from_secs(5);

fn main() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: needs root, for a lab");
        return;
    }
    let lab = lab();
    let woken = Arc::new(Woken::default());
    let running = lab.server().run(|| serve(woken.clone())).expect("a namespace to serve in");
    // The client's side. The worker has pinned itself.
    cores::pin(1).expect("two cores");
    let worker = running.workers().get(0).expect("one worker");

    println!("{:<44} {:>8} {:>8} {:>8}  worst", "under wrk, 64 connections", "median", "least", "most");
    let commands = |stop: &AtomicBool| every(PACE, stop, || worker.call(|cx| cx.stack().flow_counts()).map(drop));
    compare("1,000 commands a second, each answered", &lab, commands);
    let glances = |stop: &AtomicBool| {
        every(GLANCE, stop, || {
            worker.snapshot();
            Ok(())
        })
    };
    compare("a snapshot read ten times a second", &lab, glances);

    println!("\nat rest");
    rest();
    wake_ups(&worker, &woken);
    running.stop().expect("a worker that ends in order");
}

fn lab() -> Lab {
    let name = format!("bench{}", process::id()).parse().expect("a name");
    Lab::temporary(&LabOptions { name, ..LabOptions::default() }).expect("a lab")
}

fn serve(woken: Arc<Woken>) -> Running {
    let server = Server::on(INTERFACE).address("198.18.0.1/24".parse().expect("an address")).cores([0]);
    let make = move |_: &mut Context<'_>| Woken::watch(woken.clone());
    server.port(80).start_with(make).expect("a server")
}

/// When the application had its latest turn, in nanoseconds after `begun`.
struct Woken {
    begun: Instant,
    at: AtomicU64,
}

impl Default for Woken {
    fn default() -> Self {
        Self { begun: Instant::now(), at: AtomicU64::new(0) }
    }
}

impl Woken {
    fn watch(woken: Arc<Self>) -> Watched {
        Watched { pages: Services::new(Http::default()), woken }
    }

    fn note(&self) {
        self.at.store(self.begun.elapsed().as_nanos() as u64, Ordering::Release);
    }

    /// How long it takes from `wake` to the turn.
    fn latency(&self, wake: impl FnOnce()) -> Duration {
        self.at.store(0, Ordering::Release);
        let begin = self.begun.elapsed();
        wake();
        loop {
            match self.at.load(Ordering::Acquire) {
                0 => std::hint::spin_loop(),
                at => return Duration::from_nanos(at).saturating_sub(begin),
            }
        }
    }
}

/// Serves pages, and notes when it had a turn.
struct Watched {
    pages: Services<Http>,
    woken: Arc<Woken>,
}

impl Application for Watched {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        self.pages.event(event, cx);
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<xskip_cli::time::Instant> {
        self.woken.note();
        self.pages.on_turn(cx)
    }
}

/// Does something at a pace until told to stop; how long the slowest took.
fn every(pace: Duration, stop: &AtomicBool, mut what: impl FnMut() -> Result<(), CommandError>) -> Duration {
    let (mut due, mut slowest) = (Instant::now(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        what().expect("an answer");
        slowest = slowest.max(begin.elapsed());
        due += pace;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    slowest
}

/// Requests with `what` going on, by those without.
fn compare(name: &str, lab: &Lab, what: impl Fn(&AtomicBool) -> Duration + Sync) {
    let mut slowest = Duration::ZERO;
    let mut with = || {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let beside = scope.spawn(|| what(&stop));
            let requests = wrk(lab);
            stop.store(true, Ordering::Relaxed);
            slowest = slowest.max(beside.join().expect("no panic"));
            requests
        })
    };
    wrk(lab);
    let ratio = |pair| {
        // Who begins changes, so that neither gains by it.
        let (first, second) = if pair % 2 == 0 { (with(), wrk(lab)) } else { (wrk(lab), with()) };
        if pair % 2 == 0 { first / second } else { second / first }
    };
    let mut ratios: Vec<f64> = (0..PAIRS).map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let [median, least, most] = [ratios[PAIRS / 2], ratios[0], ratios[PAIRS - 1]];
    println!("{name:<44} {median:>8.3} {least:>8.3} {most:>8.3}  {slowest:.1?}");
}

/// Requests answered for one second of the worker's processor time: what other tenants of the machine take is not counted.
fn wrk(lab: &Lab) -> f64 {
    let before = processor_time();
    let arguments = ["-c", "1", "wrk", "-t1", "-c64", "-d", TURN, "http://198.18.0.1/bytes/100"];
    let output = lab.client().command("taskset").args(arguments).output().expect("wrk");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    let line = said.lines().find(|line| line.contains("requests in")).unwrap_or_else(|| panic!("no count: {said}"));
    let requests: f64 = line.split_whitespace().next().and_then(|count| count.parse().ok()).expect("a count");
    requests / (processor_time() - before).as_secs_f64()
}

/// The worker's folder in /proc.
fn worker_task() -> String {
    let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
    let is_worker = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("xskip-0"))
    };
    let task = tasks.into_iter().find(is_worker).expect("a worker");
    task.path().to_string_lossy().into_owned()
}

fn processor_time() -> Duration {
    let schedstat = fs::read_to_string(format!("{}/schedstat", worker_task())).expect("CONFIG_SCHED_INFO");
    let nanoseconds = schedstat.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// How often a worker with nothing to do wakes up.
fn rest() {
    thread::sleep(Duration::from_secs(1));
    let before = switches();
    thread::sleep(REST);
    println!("{:<44} {:>8}", format!("wake-ups in {REST:?}"), switches() - before);
}

fn switches() -> u64 {
    let status = fs::read_to_string(format!("{}/status", worker_task())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}

/// From a thread's call to the turn it leads to, beside a bare thread that is woken by an eventfd.
fn wake_ups(worker: &WorkerHandle, woken: &Arc<Woken>) {
    let bare = Arc::new((EventFd::new().expect("an eventfd"), Woken::default(), AtomicBool::new(false)));
    let sleeper = bare.clone();
    let thread = thread::spawn(move || {
        let (bell, woken, stop) = &*sleeper;
        cores::pin(0).expect("core 0");
        while !stop.load(Ordering::Relaxed) {
            ppoll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], None, None).expect("poll");
            woken.note();
            bell.read().expect("a bell");
        }
    });
    let waker = worker.waker();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..WAKE_UPS {
        thread::sleep(Duration::from_micros(300));
        theirs.push(bare.1.latency(|| {
            bare.0.write(1).expect("a bell");
        }));
        thread::sleep(Duration::from_micros(300));
        ours.push(woken.latency(|| waker.wake()));
    }
    bare.2.store(true, Ordering::Relaxed);
    bare.0.write(1).expect("a bell");
    thread.join().expect("no panic");
    let median = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2]
    };
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{:<44} {ours:>8.1?}", "from Waker::wake to the turn, median");
    println!("{:<44} {theirs:>8.1?}  ratio {ratio:.2}", "from an eventfd to a thread in ppoll, median");
}
