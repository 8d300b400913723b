//! A flood of SYNs at a load balancer that answers them in its servers' names: they go on with the handshakes of clients, and hear of
//! nobody else.

use super::{DemoError, chapter, say, succeeded, web::Web};
use crate::{
    bench::{
        Progress,
        lb::{Answers, Balancing, Ground, Siege},
        report,
    },
    host::cores::Cores,
    lab::INTERFACE,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::atomic::AtomicBool,
    time::Duration,
};

const BACKENDS: u8 = 3;
/// How long the flood lasts, and the peace before.
const FLOOD: Duration = Duration::from_secs(4);
const PEACE: Duration = Duration::from_secs(1);
/// What a flood that came through would make a kernel count: clients without room, of both kinds, and cookies of its own.
const TROUBLES: [&str; 3] = ["TcpExtListenOverflows", "TcpExtListenDrops", "TcpExtSyncookiesSent"];
/// Handshakes that have come to their end.
const OPENED: &str = "TcpPassiveOpens";

/// Shows it. `program` is `xskip`, which runs as the balancer, and once at each server.
pub(super) fn show(program: &Path, interrupted: &AtomicBool) -> Result<(), DemoError> {
    chapter("11. A load balancer that answers SYNs in its servers' names, and a flood")?;
    let ground = Ground::switched(BACKENDS, Answers::Direct, interrupted)?;
    let _webs = (1..=BACKENDS).map(|number| Web::start(&ground, number)).collect::<Result<Vec<_>, _>>()?;
    say(
        "client, balancer and servers as before, but there are three servers, and they share a secret with the balancer:",
    )?;
    say("")?;
    let folder = tempfile::tempdir()?;
    let master = folder.path().join("cookie.key");
    make_secret(&master)?;
    writeln!(io::stdout(), "   $ xskip backend attach --interface {INTERFACE} --cookie-master cookie.key\n")?;
    for name in names() {
        if let Some(why) = attach(&ground, &name, program, &master)? {
            say(&format!("{name} cannot: {why}"))?;
            return say("So this chapter ends here: all of the others are as good without it.");
        }
    }
    say(
        "The balancer answers each SYN itself, as if it were a server, with a number that nobody else could have made: a",
    )?;
    say(
        "cookie. It remembers nothing. Whoever says that number again has heard the answer, and is no made-up sender:",
    )?;
    say("he gets to a server, whose kernel goes on with the handshake. The web server there is any web server.")?;
    let balancer = Cores::read()?.iter().next().unwrap_or(0);
    let balancing = Balancing::of_xskip(&ground, program, balancer, BACKENDS, Some(&master))?;
    let siege = Siege { ground: &ground, core: Cores::read()?.iter().last().unwrap_or(0), interrupted };
    siege.prepare()?;
    say("")?;
    let mut show = |progress: Progress| match progress {
        // Where nobody reads along any more, the next line says so.
        Progress::Second(second) => say(&report::second(&second)).unwrap_or_default(),
        Progress::Turn { .. } | Progress::Unavailable { .. } | Progress::Measured { .. } => {}
    };
    siege.at_peace(PEACE, &mut show)?;
    let before = names().map(|name| counted(&ground, &name)).collect::<Result<Vec<_>, _>>()?;
    let (clients, flood, _) = siege.under_flood(FLOOD, &mut show)?;
    say("")?;
    let (attempts, served) = (clients.attempts, clients.attempts - clients.failures);
    say(&format!("{} SYNs were sent, and {} answers came back.", flood.sent, flood.syn_acks))?;
    say(&format!("of {attempts} clients {served} got their page."))?;
    if clients.failures > 0 || attempts == 0 {
        return Err(DemoError::Wrong(format!("every client should have got its page: {:?}", clients.reasons)));
    }
    say("What the servers' kernels have counted meanwhile:")?;
    say("")?;
    writeln!(io::stdout(), "   $ nstat {OPENED} {}\n", TROUBLES.join(" "))?;
    for (name, before) in names().zip(before) {
        let counts: Vec<_> =
            counted(&ground, &name)?.into_iter().zip(before).map(|(now, before)| now - before).collect();
        let [opened, troubles @ ..] = &counts[..] else {
            return Err(DemoError::Wrong("nothing was counted".to_owned()));
        };
        let all: Vec<_> = TROUBLES.iter().zip(troubles).map(|(what, count)| format!("{what} {count}")).collect();
        say(&format!("{name}  {OPENED} {opened:<4} {}", all.join("  ")))?;
        if troubles.iter().any(|&count| count > 0) {
            return Err(DemoError::Wrong(format!("the flood has come to {name}")));
        }
    }
    say("")?;
    say("The servers have opened connections of clients, and of the balancer that looks whether they are well.")?;
    say("Their kernels have not heard of the flood.")?;
    balancing.stop()?;
    Ok(())
}

fn names() -> impl Iterator<Item = String> {
    (1..=BACKENDS).map(|number| format!("b{number}"))
}

/// 32 hexadecimal digits that nobody else may read.
fn make_secret(path: &Path) -> io::Result<()> {
    let mut octets = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut octets)?;
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(digits.as_bytes())
}

/// Has a server take handshakes over; says why it cannot, as where its kernel is too old.
fn attach(ground: &Ground, name: &str, program: &Path, master: &Path) -> Result<Option<String>, DemoError> {
    let attach = ground.command(name, program).args(["backend", "attach", "--interface", INTERFACE, "--cookie-master"]);
    let output = attach.args([master]).output()?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// What a server's kernel has counted ever.
fn counted(ground: &Ground, name: &str) -> Result<Vec<u64>, DemoError> {
    let all = [&[OPENED][..], &TROUBLES].concat();
    let output = ground.command(name, "nstat").args(["-asz"]).args(&all).output()?;
    let said = succeeded("nstat", output)?;
    let said = String::from_utf8_lossy(&said);
    let count = |what: &&str| {
        let mut words = said.lines().find(|line| line.split_whitespace().next() == Some(*what))?.split_whitespace();
        words.nth(1)?.parse().ok()
    };
    let wrong = || DemoError::Wrong(format!("nstat said {said:?}"));
    all.iter().map(|what| count(what).ok_or_else(wrong)).collect()
}
