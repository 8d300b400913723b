//! The main job, narrated: an unmodified curl shakes hands with, fetches from and takes leave of a TCP stack in user space.
//!
//! Everything is real: the namespaces, the veth pair, the XDP program, the AF_XDP rings, curl, ping. The demonstration checks
//! what it shows, and fails where it is not so.

mod drain;
mod handed;
mod watch;
mod web;

use self::watch::Watch;
use crate::{
    app::Http,
    bench::{BenchError, Contender, Progress, SynFlood, report, scenario},
    capture::CaptureError,
    config::{StackConfig, TcpConfig},
    host::{HostError, cores::Cores},
    lab::{Lab, LabError, LabName, LabOptions, Side},
    runtime::{RunReport, Running, RuntimeError},
    server::Server,
    stack::{Cidr, CidrError},
    telemetry::{Ladder, LadderMode, LadderOptions, Taps},
    worker::Tap,
};
use std::{
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use thiserror::Error;

/// The stack's own address in the lab, and the port of its HTTP server.
const ADDRESS: &str = "198.18.0.1/24";
const PORT: u16 = 80;
/// A port that nobody listens on.
const CLOSED_PORT: u16 = 81;
/// Bytes of the large fetch.
const LARGE: usize = 50_000_000;
/// How long a connection may take to end once its client has.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the demonstration did not come to its end.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),

    /// The server.
    #[error(transparent)]
    Server(#[from] RuntimeError),

    /// The machine.
    #[error(transparent)]
    Host(#[from] HostError),

    /// The capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),

    /// The flood.
    #[error(transparent)]
    Bench(#[from] BenchError),

    /// The lab's address; cannot happen unless someone changes it.
    #[error(transparent)]
    Address(#[from] CidrError),

    /// The terminal.
    #[error("could not print: {0}")]
    Print(#[from] io::Error),

    /// A client did not do what it should.
    #[error("{command} failed ({status}): {said}; please report it with what was printed before")]
    Client {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// What it said on standard error.
        said: String,
    },

    /// Somebody wanted it to stop.
    #[error("interrupted: nothing was left behind; run `xskip demo` to see it again")]
    Interrupted,

    /// Something shown was not as it should be.
    #[error("{0}; please report it with what was printed before")]
    Wrong(String),
}

/// What to show besides.
#[derive(Clone, Default)]
pub struct DemoOptions {
    /// Looks on at every frame, as a capture does.
    pub tap: Option<Arc<dyn Tap>>,
    /// The program `xskip`, which runs as a load balancer in the last two chapters; without it there are none.
    pub program: Option<PathBuf>,
}

/// Shows it. `interrupted` may become true, from a signal handler, to end it early; nothing is left behind either way.
///
/// # Errors
/// [`DemoError`] says what went wrong.
pub fn run(options: &DemoOptions, interrupted: &AtomicBool) -> Result<(), DemoError> {
    // A name of its own, so that a lab one has up stays as it is, and two demonstrations do not meet.
    let name: LabName = format!("demo{}", std::process::id()).parse()?;
    chapter("1. A lab: two network namespaces, joined by a veth pair")?;
    let lab = Lab::temporary_unless(&LabOptions { name, ..LabOptions::default() }, interrupted)?;
    let (kernel_server, _) = lab.server().addresses();
    let (kernel_client, _) = lab.client().addresses();
    say(&format!("client: the kernel, with curl and ping, at {kernel_client}"))?;
    say(&format!("server: the kernel at {kernel_server}; and, on the same interface, xskip at {ADDRESS}"))?;

    chapter("2. A server in user space")?;
    let watch = Arc::new(Watch::default());
    let ladder =
        Arc::new(Ladder::new(io::stdout(), LadderOptions { mode: LadderMode::Live, ..LadderOptions::default() })?);
    let running = start_server(&lab, options, &ladder, &watch)?;
    say(&running.setups()[0].to_string())?;

    let stage = Stage { client: lab.client(), ladder: &ladder, watch: &watch, interrupted };
    stage.client_closes_first()?;
    stage.server_closes_first()?;
    stage.nobody_listens()?;
    stage.large_fetch()?;
    stage.both_answer(kernel_server.into())?;

    chapter("8. The accounts")?;
    accounts(&running.stop()?)?;
    drop(lab);
    flood(interrupted)?;
    if let Some(program) = &options.program {
        let shown = drain::show(program, interrupted).and_then(|()| handed::show(program, interrupted));
        // Ctrl-C reaches what was started here as well, whose end is no fault of its own then.
        shown.map_err(|error| if interrupted.load(Ordering::Relaxed) { DemoError::Interrupted } else { error })?;
    }
    writeln!(io::stdout(), "\ndemo: ok")?;
    Ok(())
}

fn start_server(
    lab: &Lab,
    options: &DemoOptions,
    ladder: &Arc<Ladder>,
    watch: &Arc<Watch>,
) -> Result<Running, DemoError> {
    let address: Cidr = ADDRESS.parse()?;
    let mut taps: Vec<Arc<dyn Tap>> = vec![ladder.clone()];
    taps.extend(options.tap.clone());
    // The watch comes last: when it has seen a connection end, the others have been shown that, too.
    taps.push(watch.clone());
    // TIME-WAIT is shown, not waited for; and every step of a close is a segment of its own, to be seen.
    let tcp = TcpConfig { separate_fin_ack: true, ..TcpConfig::default() };
    let cores = Cores::read()?;
    let server = Server::on("veth0")
        .address(address)
        .port(PORT)
        .cores(cores.iter().last())
        .config(StackConfig { tcp, ..StackConfig::default() })
        .tap(Arc::new(Taps::new(taps)));
    Ok(lab.server().run(|| server.start(Http::default))??)
}

/// Where the scenes are played.
struct Stage<'a> {
    client: &'a Side,
    ladder: &'a Ladder,
    watch: &'a Watch,
    interrupted: &'a AtomicBool,
}

impl Stage<'_> {
    fn check_interrupted(&self) -> Result<(), DemoError> {
        if self.interrupted.load(Ordering::Relaxed) { Err(DemoError::Interrupted) } else { Ok(()) }
    }

    /// Begins a scene, unless the audience has left.
    fn scene(&self, title: &str) -> Result<(), DemoError> {
        self.check_interrupted()?;
        chapter(title)
    }

    fn client_closes_first(&self) -> Result<(), DemoError> {
        self.scene("3. curl fetches a page, and closes first")?;
        let page = self.fetch(&["http://198.18.0.1/"])?;
        say("")?;
        say(&format!("curl got {} bytes, which begin \"{}\"", page.len(), first_line(&page)))?;
        say("The passive close, on our side: CLOSE-WAIT when the peer's FIN has come, LAST-ACK when ours has gone.")
    }

    fn server_closes_first(&self) -> Result<(), DemoError> {
        self.scene("4. Now the server closes first: curl asks for Connection: close")?;
        self.fetch(&["--header", "Connection: close", "http://198.18.0.1/bytes/100"])?;
        say("")?;
        say(
            "The active close: FIN-WAIT-1 when our FIN has gone, FIN-WAIT-2 when it is acknowledged (curl does that with its\n   own FIN, so it lasts no time here), and TIME-WAIT until every old segment has left the network.",
        )
    }

    fn nobody_listens(&self) -> Result<(), DemoError> {
        self.scene("5. A port that nobody listens on")?;
        let url = format!("http://198.18.0.1:{CLOSED_PORT}/");
        let output = self.curl(&[&url])?;
        thread::sleep(Duration::from_millis(50));
        self.ladder.catch_up();
        say("")?;
        match output.status.code() {
            Some(7) => say("curl says: connection refused. An RST is all it takes."),
            code => Err(DemoError::Wrong(format!("curl should have been refused (7), but ended with {code:?}"))),
        }
    }

    fn large_fetch(&self) -> Result<(), DemoError> {
        self.scene(&format!("6. {} million bytes", LARGE / 1_000_000))?;
        let url = format!("http://198.18.0.1/bytes/{LARGE}");
        let body = self.fetch(&[&url])?;
        say("")?;
        // The pattern of /bytes/N, computed here anew.
        let right = body.len() == LARGE && body.iter().zip((0..=250u8).cycle()).all(|(got, expected)| *got == expected);
        match right {
            true => say(&format!("curl got {} bytes, and each is right.", body.len())),
            false => Err(DemoError::Wrong(format!("{} of {LARGE} bytes came, or some are wrong", body.len()))),
        }
    }

    fn both_answer(&self, kernel: IpAddr) -> Result<(), DemoError> {
        self.scene("7. ping: the stack, and the kernel behind the same interface")?;
        for (whom, address) in [("xskip", "198.18.0.1".to_owned()), ("the kernel", kernel.to_string())] {
            let output = self.client.command("ping").args(["-c", "3", "-i", "0.2", "-q", &address]).output()?;
            let text = succeeded("ping", output)?;
            let text = String::from_utf8_lossy(&text);
            let result = text.lines().find(|line| line.contains("received")).unwrap_or_default();
            say(&format!("{whom} at {address}: {result}"))?;
            if !result.contains(" 3 received") {
                return Err(DemoError::Wrong(format!("ping of {address} went unanswered")));
            }
        }
        Ok(())
    }

    /// What curl gets, once its connection has ended on our side as well.
    fn fetch(&self, args: &[&str]) -> Result<Vec<u8>, DemoError> {
        let before = self.watch.ended();
        let body = succeeded("curl", self.curl(args)?)?;
        let has_ended = self.watch.wait_for(before + 1, PATIENCE);
        self.ladder.catch_up();
        match has_ended {
            true => Ok(body),
            false => Err(DemoError::Wrong("curl has ended, but its connection has not".to_owned())),
        }
    }

    fn curl(&self, args: &[&str]) -> Result<Output, DemoError> {
        let quoted = args.iter().map(|arg| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() });
        writeln!(io::stdout(), "   $ curl {}\n", quoted.collect::<Vec<_>>().join(" "))?;
        let curl = self.client.command("curl").args(["--silent", "--show-error", "--max-time", "60"]).args(args);
        let output = curl.output()?;
        // Ctrl-C reaches curl as well, which is no fault of its own.
        self.check_interrupted()?;
        Ok(output)
    }
}

fn succeeded(command: &str, output: Output) -> Result<Vec<u8>, DemoError> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(DemoError::Client { command: command.to_owned(), status: output.status.to_string(), said })
}

/// One flood for the kernel and one like it for us, with clients that come and go meanwhile.
fn flood(interrupted: &AtomicBool) -> Result<(), DemoError> {
    chapter("9. A SYN flood, and clients who want a page meanwhile")?;
    say(
        "First a server on the kernel's sockets, then this one: each at peace for a second, and then under a flood of",
    )?;
    say("SYNs from random addresses, as many as one core can send. The clients are the kernel's, 100 a second.")?;
    say("")?;
    let bench = SynFlood {
        duration: Duration::from_secs(4),
        idle: Duration::from_secs(1),
        rounds: 1,
        contenders: vec![Contender::Kernel, Contender::Xskip],
        ..SynFlood::default()
    };
    let show = |progress: Progress| match progress {
        // Where nobody reads along any more, the next line says so.
        Progress::Second(second) => say(&report::second(&second)).unwrap_or_default(),
        Progress::Turn { .. } | Progress::Unavailable { .. } | Progress::Measured { .. } => {}
    };
    let result = bench.run(show, interrupted).map_err(|error| match error {
        BenchError::Interrupted => DemoError::Interrupted,
        other => other.into(),
    })?;
    say("")?;
    if let Some(ratio) = result.ratio("xskip/kernel", scenario::SYN_ACKS) {
        let times = ratio.median;
        say(&format!("XDP answered {times:.1} times as many SYNs as the kernel did, on the same core."))?;
    }
    match result.contender("xskip").and_then(|xskip| xskip.success()) {
        Some(1.0) => say("Not one client of xskip went without its page."),
        share => Err(DemoError::Wrong(format!("every client of xskip should have got its page, but {share:?} did"))),
    }
}

fn accounts(report: &RunReport) -> Result<(), DemoError> {
    say("The XDP program decided:")?;
    for (name, count) in report.verdicts.iter().filter(|&(_, count)| count > 0) {
        say(&format!("  {name:24}{count:>10}"))?;
    }
    say("The stack:")?;
    for (name, count) in report.stats().iter().filter(|&(_, count)| count > 0) {
        say(&format!("  {name:28}{count:>6}"))?;
    }
    for port in report.workers.iter().flat_map(|worker| &worker.ports) {
        let frames = &port.frames;
        say(&format!("Queue {}: of {} frames {} are accounted for.", port.queue, frames.total, frames.accounted()))?;
        if !frames.is_balanced() {
            return Err(DemoError::Wrong(format!("frames are missing: {frames:?}")));
        }
    }
    Ok(())
}

fn chapter(title: &str) -> Result<(), DemoError> {
    Ok(writeln!(io::stdout(), "\n{title}\n")?)
}

fn say(line: &str) -> Result<(), DemoError> {
    Ok(writeln!(io::stdout(), "{}", format!("   {line}").trim_end())?)
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned()
}
