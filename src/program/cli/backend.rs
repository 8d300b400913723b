use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::json;
use xskip_cli::backend::{self, BackendError, Hook, Options, Prefix};

use super::{Failure, print};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take IPIP and GUE off what a balancer sends, so that the servers of this host get the clients' packets
    #[command(
        after_help = "The outer headers are taken off in front of the kernel, which delivers what was inside to the servers \
        on the virtual addresses, and answers the clients itself: by way of no balancer. All else stays as it is. IPIP is IP \
        protocol 4 and 41 with either IP outside; GUE is UDP to port 6080 with an IP header behind it (variant 1).\n\n\
        A tunnel that takes packets from everybody lets everybody forge whom they come from, past the filters in front of this \
        host: name the balancers with --from. Only packets for the virtual addresses are taken, so that no other service of \
        this host can be reached in a tunnel.\n\n\
        With --cookie-master, handshakes are taken over that balancers have answered by SYN cookies in the servers' stead: the kernel \
        adopts each connection whose first segment has a good cookie (Linux 6.9). Attached with another secret, that of before counts \
        for another hour.\n\n\
        It stays attached until `detach`, or until the interface goes; attached once more, the new settings take the place of \
        the old ones between two packets.\n\n\
        Examples:\n  \
        sudo ip address add 198.18.0.80/32 dev lo\n  \
        sudo xskip backend attach --interface eth0 --from 10.0.0.0/24\n  \
        sudo xskip backend attach --interface eth0 --from 10.0.0.2 --from fd00::2 --vip 198.18.0.80 --vip 2001:db8::80\n  \
        sudo xskip backend attach --interface eth0 --from 10.0.0.0/24 --cookie-master cookie.key"
    )]
    Attach(Attach),

    /// Leave packets in their tunnels again
    #[command(after_help = "Example:\n  sudo xskip backend detach --interface eth0")]
    Detach {
        #[command(flatten)]
        at: At,
    },

    /// Say what is attached, since when, with which settings, and what became of packets
    #[command(after_help = "Exit status: 0 if it is attached, 1 if it is not.\n\n\
        Example:\n  sudo xskip backend status --interface eth0 --json | jq .counters")]
    Status {
        #[command(flatten)]
        at: At,

        /// For a program: one object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct At {
    /// The interface by which packets come from the balancer
    #[arg(long, value_name = "IF")]
    interface: String,
}

#[derive(Debug, Args)]
pub struct Attach {
    #[command(flatten)]
    at: At,

    /// Whose packets are taken, as an address or a prefix; may be given again [default: anybody's]
    #[arg(long, value_name = "IP|CIDR")]
    from: Vec<Prefix>,

    /// A virtual address that packets inside may be for; may be given again [default: the addresses on `lo` that are no
    /// loopback's, at this moment]
    #[arg(long, value_name = "IP")]
    vip: Vec<IpAddr>,

    /// An address that the balancer sends to; may be given again [default: the interface's own, at this moment]
    #[arg(long, value_name = "IP")]
    address: Vec<IpAddr>,

    /// How it is attached, tcx or clsact; where the qdisc clsact has to be made first, what this host sends in that moment may be
    /// lost [default: tcx, where the kernel has it]
    #[arg(long, value_name = "HOOK")]
    hook: Option<Hook>,

    /// Take over handshakes that balancers have answered by SYN cookies with the secret in this file, 32 hexadecimal digits: for
    /// all TCP ports of the virtual addresses
    #[arg(long, value_name = "FILE")]
    cookie_master: Option<PathBuf>,
}

pub fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Attach(arguments) => attach(arguments),
        Command::Detach { at } => detach(&at.interface),
        Command::Status { at, json } => status(&at.interface, json),
    }
}

fn attach(arguments: Attach) -> Result<ExitCode, Failure> {
    let Attach { at, from, vip, address, hook, cookie_master } = arguments;
    let options =
        Options { interface: at.interface, addresses: address, senders: from, vips: vip, hook, cookie_master };
    let attached = backend::attach(&options)?;
    let before = if attached.replaced { ", in the place of the one before" } else { "" };
    let interface = &options.interface;
    print::result(format_args!("attached to {interface} by {}{before}\n{}", attached.hook, attached.settings))?;
    attached.advice.iter().for_each(print::note);
    Ok(ExitCode::SUCCESS)
}

fn detach(interface: &str) -> Result<ExitCode, Failure> {
    backend::detach(interface)?;
    print::result(format_args!("detached from {interface}"))?;
    Ok(ExitCode::SUCCESS)
}

fn status(interface: &str, as_json: bool) -> Result<ExitCode, Failure> {
    match (backend::status(interface)?, as_json) {
        (Some(status), true) => print::result(serde_json::to_string_pretty(&status)?)?,
        (Some(status), false) => print::result(&status)?,
        (None, true) => {
            let nothing = json!({ "interface": interface, "attached": false });
            print::result(serde_json::to_string_pretty(&nothing)?)?;
            return Ok(ExitCode::FAILURE);
        }
        (None, false) => return Err(BackendError::NotAttached { interface: interface.to_owned() }.into()),
    }
    Ok(ExitCode::SUCCESS)
}
