//! Two servers behind a load balancer: one of them is drained while clients come, and while others are served by it.

use super::{
    DemoError, chapter, say, succeeded,
    web::{self, Web},
};
use crate::{
    bench::lb::{Answers, Balancing, Ground},
    host::cores::Cores,
};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    process::{Child, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// The service.
const URL: &str = "http://198.18.0.80/";
const BACKENDS: u8 = 2;
/// Downloads that are under way while the drain begins; curl is told to take its time.
const DOWNLOADS: usize = 6;
const RATE: &str = "2M";
/// Clients before the drain, and after.
const CLIENTS: usize = 20;

/// Shows it. `program` is `xskip`, which runs as the balancer.
pub(super) fn show(program: &Path, interrupted: &AtomicBool) -> Result<(), DemoError> {
    chapter("10. A load balancer, and a server that is drained")?;
    let ground = Ground::switched(BACKENDS, Answers::Direct, interrupted)?;
    let webs = (1..=BACKENDS).map(|number| Web::start(&ground, number)).collect::<Result<Vec<_>, _>>()?;
    let balancing = Balancing::of_xskip(&ground, program, Cores::read()?.iter().next().unwrap_or(0), BACKENDS, None)?;
    say("client: curl, at 198.18.0.2. balancer: xskip lb run, for 198.18.0.80 port 80")?;
    say(
        "servers: b1 and b2, on the kernel's sockets. They have that address, too, tell nobody, and answer clients directly.",
    )?;
    let stage = Stage { ground: &ground, balancing: &balancing, program, interrupted };
    say("")?;
    writeln!(io::stdout(), "   $ for i in $(seq {CLIENTS}); do curl {URL}; done\n")?;
    say(&stage.visit(&["b1", "b2"])?)?;

    say("")?;
    say(&format!("{DOWNLOADS} downloads begin, which take some seconds."))?;
    let downloads = Downloads::start(&stage, &webs)?;
    let most = webs.iter().max_by_key(|web| web.busy());
    let Some(drained) = most.filter(|web| web.busy() > 0) else {
        return Err(DemoError::Wrong("no download is under way".to_owned()));
    };
    let others: Vec<_> = webs.iter().map(|web| web.name()).filter(|&name| name != drained.name()).collect();
    let words = format!("web/{}", drained.name());
    say(&format!("{} has {} of them, and is drained:", drained.name(), drained.busy()))?;
    say("")?;
    writeln!(io::stdout(), "   $ xskip lb drain {words}\n")?;
    for line in stage.drain(&words)?.lines() {
        say(line)?;
    }
    say("")?;
    writeln!(io::stdout(), "   $ for i in $(seq {CLIENTS}); do curl {URL}; done\n")?;
    say(&stage.visit(&others)?)?;
    match drained.busy() {
        0 => {} // a slow machine: they have all been written by now
        still => say(&format!("Meanwhile {still} downloads go on from {}.", drained.name()))?,
    }
    let whole = downloads.finish(&stage)?;
    let from_drained = whole.get(drained.name()).copied().unwrap_or(0);
    say("")?;
    say(&format!(
        "{DOWNLOADS} of {DOWNLOADS} downloads are whole, {from_drained} of them from {}; {} of {} clients got their page.",
        drained.name(),
        2 * CLIENTS,
        2 * CLIENTS
    ))?;
    say("Nobody noticed.")?;
    balancing.stop()?;
    Ok(())
}

struct Stage<'a> {
    ground: &'a Ground,
    balancing: &'a Balancing<'a>,
    program: &'a Path,
    interrupted: &'a AtomicBool,
}

impl Stage<'_> {
    /// One client after the other; says who answered. Each must be answered, by one of these.
    fn visit(&self, allowed: &[&str]) -> Result<String, DemoError> {
        let mut answers = BTreeMap::new();
        for _ in 0..CLIENTS {
            let arguments = ["--silent", "--show-error", "--max-time", "30", URL];
            let output = self.ground.command("client", "curl").args(arguments).output()?;
            let who = String::from_utf8_lossy(&self.succeeded("curl", output)?).trim().to_owned();
            if !allowed.contains(&who.as_str()) {
                let names = allowed.join(" or ");
                return Err(DemoError::Wrong(format!("{names} should have answered, and {who:?} did")));
            }
            *answers.entry(who).or_insert(0) += 1;
        }
        let shares: Vec<_> = answers.iter().map(|(who, count)| format!("{who} answered {count}")).collect();
        Ok(format!("of {CLIENTS} clients {}.", shares.join(", ")))
    }

    fn drain(&self, backend: &str) -> Result<String, DemoError> {
        let control = self.balancing.control();
        let drain = self.ground.command("balancer", self.program).args(["lb", "drain", backend, "--control"]);
        let output = drain.args([control]).output()?;
        Ok(String::from_utf8_lossy(&self.succeeded("xskip lb drain", output)?).into_owned())
    }

    /// What a program said, unless it failed; Ctrl-C reaches it as well, which is no fault of its own.
    fn succeeded(&self, command: &str, output: Output) -> Result<Vec<u8>, DemoError> {
        if self.interrupted.load(Ordering::Relaxed) { Err(DemoError::Interrupted) } else { succeeded(command, output) }
    }
}

/// curls that take their time. Dropping the value ends them.
struct Downloads(Vec<Child>);

impl Downloads {
    /// All have begun to be answered when this returns.
    fn start(stage: &Stage<'_>, webs: &[Web]) -> Result<Self, DemoError> {
        let mut downloads = Self(Vec::new());
        for _ in 0..DOWNLOADS {
            let arguments = ["--silent", "--show-error", "--max-time", "120", "--limit-rate", RATE];
            let curl = stage.ground.command("client", "curl").args(arguments).args([format!("{URL}large")]);
            let curl = curl.with(|it| it.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
            downloads.0.push(curl.spawn()?);
        }
        Web::wait_for(webs, DOWNLOADS, stage.interrupted)?;
        Ok(downloads)
    }

    /// How many were whole, by who they are from.
    fn finish(mut self, stage: &Stage<'_>) -> Result<BTreeMap<String, usize>, DemoError> {
        let mut whole = BTreeMap::new();
        // All at a time, so that none has to wait for its reader.
        let readers: Vec<_> = self.0.drain(..).map(|child| thread::spawn(|| child.wait_with_output())).collect();
        // And whatever one of them says, none is left when this returns.
        let outputs: Vec<_> = readers.into_iter().map(thread::JoinHandle::join).collect();
        for output in outputs {
            let output = output.map_err(|_| DemoError::Wrong("a reader of curl panicked".to_owned()))??;
            let body = stage.succeeded("curl", output)?;
            let who = web::author(&body);
            let who = who.ok_or_else(|| {
                DemoError::Wrong(format!("{} octets of a download came, or some are wrong", body.len()))
            })?;
            *whole.entry(who).or_insert(0) += 1;
        }
        Ok(whole)
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
