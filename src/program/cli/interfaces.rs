//! The interfaces that are served, and what is said of each: whatever stands behind an `--interface` is said of that one, and what
//! stands before the first is said of the first.

use super::list::NumberList;
use clap::{ArgMatches, Args, Command, FromArgMatches, error::ErrorKind};
use std::net::IpAddr;
use xskip_cli::{Cidr, runtime::Station};

/// What is said of one interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub addresses: Vec<Cidr>,
    pub shared: Vec<IpAddr>,
    pub vlan: Option<u16>,
    pub gateways: Vec<IpAddr>,
    pub answers_to: Option<Station>,
    pub queues: Option<NumberList<u32>>,
}

/// All that are served, in the order they were typed: at least one.
#[derive(Debug)]
pub struct Interfaces(pub(super) Vec<Interface>);

/// The options as such. What belongs to which interface is told by where it stands, which only [`ArgMatches`] know.
#[derive(Args)]
#[group(skip)] // its name would be of no use to anybody
struct Options {
    /// The interface whose traffic is taken; may be given again. Then addresses, VLAN, routers and queues are said of the interface
    /// that was named last before them
    #[arg(long, value_name = "IF", required = true)]
    interface: Vec<String>,

    /// An address of the stack's own, which the kernel must not have; may be given again
    #[arg(long, value_name = "CIDR")]
    address: Vec<Cidr>,

    /// An address that stays the kernel's: only the listed ports are taken; may be given again
    #[arg(long, value_name = "IP")]
    shared: Vec<IpAddr>,

    /// The VLAN to serve, by frames with its tag (IEEE 802.1Q) [default: none, by untagged frames]
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4_094))]
    vlan: Vec<u16>,

    /// The router to what lies beyond the addresses' subnets; may be given again, once for each IP version
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,

    /// Send answers to this station instead of to where packets come from, for a server behind a director that hands packets on by
    /// link address (direct server return): the router's link address or, to follow where that moves, its IP address
    #[arg(long, value_name = "MAC|IP")]
    answers_to: Vec<Station>,

    /// Queues to serve, such as 0,2-3, as many of each interface [default: all of the interface]
    #[arg(long, value_name = "LIST")]
    queues: Vec<NumberList<u32>>,
}

impl Interfaces {
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.0.iter()
    }

    /// Their names, in the order in which they were given.
    pub fn names(&self) -> Vec<&str> {
        self.iter().map(|interface| interface.name.as_str()).collect()
    }
}

impl Args for Interfaces {
    fn augment_args(command: Command) -> Command {
        Options::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Options::augment_args_for_update(command)
    }
}

impl FromArgMatches for Interfaces {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (places, names): (Vec<usize>, Vec<String>) = values(matches, "interface").unzip();
        let mut interfaces: Vec<Interface> =
            names.into_iter().map(|name| Interface { name, ..Interface::default() }).collect();
        if interfaces.is_empty() {
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, "no --interface was given"));
        }
        // Which interface was named last before this place.
        let owner = |place| places.partition_point(|&named| named < place).saturating_sub(1);
        values(matches, "address").for_each(|(at, address)| interfaces[owner(at)].addresses.push(address));
        values(matches, "shared").for_each(|(at, address)| interfaces[owner(at)].shared.push(address));
        values(matches, "gateway").for_each(|(at, router)| interfaces[owner(at)].gateways.push(router));
        for (at, id) in values(matches, "vlan") {
            once("vlan", &mut interfaces[owner(at)], id, |interface| &mut interface.vlan)?;
        }
        for (at, station) in values(matches, "answers_to") {
            once("answers-to", &mut interfaces[owner(at)], station, |interface| &mut interface.answers_to)?;
        }
        for (at, queues) in values(matches, "queues") {
            once("queues", &mut interfaces[owner(at)], queues, |interface| &mut interface.queues)?;
        }
        Ok(Self(interfaces))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The values of an option, each with its place among all that was typed, in that order.
fn values<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> impl Iterator<Item = (usize, T)> {
    let places = matches.indices_of(id).into_iter().flatten();
    places.zip(matches.get_many::<T>(id).into_iter().flatten().cloned())
}

/// Sets what an interface has one of.
fn once<T>(
    option: &str,
    interface: &mut Interface,
    value: T,
    field: impl Fn(&mut Interface) -> &mut Option<T>,
) -> Result<(), clap::Error> {
    if field(interface).replace(value).is_some() {
        let name = &interface.name;
        let message = format!("--{option} was given twice for {name}: give it once for each --interface, after it");
        return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
    }
    Ok(())
}
