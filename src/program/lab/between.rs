//! What is between the two sides of an impaired lab: the relay, its namespace and its interfaces.

use std::{
    ffi::CStr,
    io::{BufRead, BufReader},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::{Pid, setsid},
};

use super::{
    INTERFACE, LabError, LabName, LabOptions, RELAY_READY, Removed, Role,
    parts::{AUTOMATIC, named_namespace, set_offloads},
};
use crate::{
    host::{
        HostError, Link,
        link::{VethEnd, create_veth},
        netns::{self, Namespace, Process, Registry},
        sysctl,
    },
    impair::Impairment,
    relay::{self, Relay},
};

/// The relay's interfaces: towards the client, and towards the server.
const ENDS: [&str; 2] = ["left", "right"];

/// What the kernel calls a relay's process. Nothing else in a relay's namespace has this name, so it is known by it.
const PROCESS: &CStr = c"xskip-relay";

/// How long a relay may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the kernel lets one alias hold, in bytes; a little less.
const ALIAS_MAX: usize = 240;

/// What is found between the sides.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Absent,
    /// A name at least, but not all that a relay needs.
    Half,
    Foreign {
        interface: String,
    },
    Ours(Box<Ends>),
}

/// The relay's interfaces, as they are.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub left: Link,
    pub right: Link,
}

impl Ends {
    /// Whether a relay carries frames: its programs are attached for as long as it lives.
    pub(super) fn are_carried(&self) -> bool {
        self.left.xdp.is_some() && self.right.xdp.is_some()
    }

    /// How the link is impaired, as was noted when it was made.
    pub(super) fn impairment(&self) -> Option<Impairment> {
        let noted = [&self.left, &self.right].map(|end| end.alias.as_deref().unwrap_or_default());
        noted.concat().parse().ok()
    }
}

/// The relay's end of the pair to a side.
fn end(role: Role) -> VethEnd<'static> {
    let (name, index, last) = match role {
        Role::Client => (ENDS[0], 103, 0x03),
        Role::Server => (ENDS[1], 104, 0x04),
    };
    VethEnd { name, index, mac: [0x02, b'x', b's', b'k', 0x00, last] }
}

pub(super) fn inspect(name: &LabName) -> Result<Found, HostError> {
    let namespace = name.relay_namespace();
    let Some(namespace) = named_namespace(&namespace)? else {
        return Ok(if netns::list()?.contains(&namespace) { Found::Half } else { Found::Absent });
    };
    Ok(judge(namespace.run(Link::list)??))
}

pub(super) fn judge(links: Vec<Link>) -> Found {
    let ours = |role| links.iter().find(|link| is_ours(link, role)).cloned();
    match (ours(Role::Client), ours(Role::Server)) {
        (Some(left), Some(right)) => Found::Ours(Box::new(Ends { left, right })),
        (None, None) => match links.into_iter().find(|link| !AUTOMATIC.contains(&link.name.as_str())) {
            Some(link) => Found::Foreign { interface: link.name },
            None => Found::Half,
        },
        _ => Found::Half,
    }
}

fn is_ours(link: &Link, role: Role) -> bool {
    link.is_veth() && link.name == end(role).name && link.mac == end(role).mac
}

/// Makes the two pairs.
pub(super) fn join(
    options: &LabOptions,
    impairment: &Impairment,
    client: &Namespace,
    server: &Namespace,
) -> Result<(), LabError> {
    let relay = Namespace::open(&options.name.relay_namespace())?;
    for (role, side) in [(Role::Client, client), (Role::Server, server)] {
        let far = VethEnd { name: INTERFACE, index: role.interface_index(), mac: role.mac() };
        relay.run(|| create_veth(end(role), far, side.as_fd(), options.queues, options.mtu))??;
    }
    // What differs between the ways takes more room than one alias has.
    let text = impairment.to_string();
    let (first, rest) = text.split_at(text.len().min(ALIAS_MAX));
    relay.run(|| Link::find(ENDS[0])?.set_alias(first).and_then(|()| Link::find(ENDS[1])?.set_alias(rest)))??;
    Ok(())
}

/// Sets the relay's interfaces up. Their kernel has nothing to say.
pub(super) fn configure(name: &LabName) -> Result<(), LabError> {
    let set_up = || {
        for interface in ENDS {
            set_offloads(interface)?;
            let key = format!("net/ipv6/conf/{interface}/disable_ipv6");
            if sysctl::read(&key)?.is_some() {
                sysctl::write(&key, "1")?;
            }
            Link::find(interface)?.set_up()?;
        }
        Ok::<_, HostError>(())
    };
    Ok(Namespace::open(&name.relay_namespace())?.run(set_up)??)
}

/// Starts the relay as a thread of this process.
pub(super) fn start(name: &LabName, impairment: Impairment) -> Result<Relay, LabError> {
    Ok(Relay::start(Namespace::open(&name.relay_namespace())?, ENDS, impairment)?)
}

/// Starts the relay as a process of its own, which outlives this one.
pub(super) fn spawn(name: &LabName, program: &Path) -> Result<(), LabError> {
    let failed = |error: std::io::Error| LabError::RelayProcess(format!("{}: {error}", program.display()));
    let mut child = Command::new(program)
        .args(["lab", "relay", name.as_str()])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut said).map_err(failed)?;
    }
    match said.trim_end() {
        RELAY_READY => Ok(()),
        why => {
            let _ = child.kill();
            let status = child.wait().map_err(failed)?;
            let why = if why.is_empty() { format!("it ended with {status} and said nothing") } else { why.to_owned() };
            Err(LabError::RelayProcess(why))
        }
    }
}

/// Is the relay, in this process.
pub(super) fn carry(name: &LabName, stop: &AtomicBool, ready: impl FnOnce()) -> Result<(), LabError> {
    let down = || LabError::Down(name.clone());
    let Found::Ours(ends) = inspect(name)? else { return Err(down()) };
    let impairment = ends.impairment().ok_or_else(down)?;
    // Neither is vital: without a name, it has to be ended by hand; without a session, a terminal may end it.
    let _ = prctl::set_name(PROCESS);
    let _ = setsid();
    Namespace::open(&name.relay_namespace())?.enter()?;
    Ok(relay::run(ENDS, &impairment, stop, ready)?)
}

/// Ends the relay's process and removes what is between the sides. A relay that is a thread of some other program ends by
/// itself when its interfaces go.
pub(super) fn remove(registry: &Registry, name: &LabName, removed: &mut Removed) -> Result<(), LabError> {
    let name = name.relay_namespace();
    if let Some(namespace) = named_namespace(&name)? {
        end_processes(&namespace)?;
        let remove_links = || {
            let ours = |link: &Link| Role::BOTH.iter().any(|role| is_ours(link, *role));
            Link::list()?.iter().filter(|link| ours(link)).try_for_each(Link::delete)
        };
        namespace.run(remove_links)??;
    }
    if registry.delete(&name)? {
        removed.namespaces.push(name);
    }
    Ok(())
}

/// Ends relays that are processes of their own.
fn end_processes(namespace: &Namespace) -> Result<(), HostError> {
    for (signal, patience) in [(Signal::SIGTERM, PATIENCE), (Signal::SIGKILL, PATIENCE)] {
        let deadline = Instant::now() + patience;
        let mut relays = relay_processes(namespace)?;
        for relay in &relays {
            // It may have ended meanwhile; that is what is wanted.
            let _ = i32::try_from(relay.pid).map(|pid| kill(Pid::from_raw(pid), signal));
        }
        while !relays.is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
            relays = relay_processes(namespace)?;
        }
        if relays.is_empty() {
            break;
        }
    }
    Ok(())
}

/// The relays in a namespace that are processes of their own.
fn relay_processes(namespace: &Namespace) -> Result<Vec<Process>, HostError> {
    let mut processes = namespace.processes()?;
    processes.retain(|process| process.command.as_bytes() == PROCESS.to_bytes());
    Ok(processes)
}
