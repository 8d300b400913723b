//! What can stand in a server's way.

use super::Station;
use crate::{
    host::HostError,
    stack::{
        AddAddressError, BindError, Cidr, CidrError, ConnectError, ListenError, RemoveAddressError, TooManyInterfaces,
    },
    telemetry::metrics::MetricsError,
    wire::{AddressError, MacAddress},
    worker::{CommandError, MAX_PORTS},
    xdp::{MAX_LISTENERS, ServeError, XdpError},
};
use std::net::IpAddr;
use thiserror::Error;

/// Why a runtime did not start, or could not go on.
#[derive(Error)]
pub enum RuntimeError {
    /// No address to serve.
    #[error("no address to serve: give one of the stack's own, such as --address 198.18.0.1/24")]
    NoAddress,

    /// An interface beside others with no address to serve on it.
    #[error("no address to serve on {interface}: give it one, or leave the interface out")]
    NoAddressOn {
        /// The interface.
        interface: String,
    },

    /// An interface was named twice.
    #[error("interface {interface} was named twice: name it once, with all of its addresses")]
    InterfaceTwice {
        /// The interface.
        interface: String,
    },

    /// More interfaces than a worker has queues.
    #[error(
        "{count} interfaces were named, but a worker serves {MAX_PORTS} at most: start another server for the rest"
    )]
    TooManyInterfaces {
        /// How many there are.
        count: usize,
    },

    /// A worker would be without a queue of some interface.
    #[error(
        "{interface} has {queues} queues to be served, but another interface only {workers}, and every worker has one of each: serve as many of both with --queues, or change their number with `ethtool -L IF combined N`"
    )]
    UnevenQueues {
        /// The interface with more.
        interface: String,
        /// How many it has.
        queues: usize,
        /// How many the other one has.
        workers: usize,
    },

    /// The address for metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),

    /// No port to listen on, and nobody to connect to.
    #[error("no port to listen on: give at least one, such as --port 80")]
    NoPort,

    /// A connection of our own that cannot be opened.
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),

    /// A TCP port that cannot be had.
    #[error("cannot serve TCP: {0}")]
    Tcp(#[from] ListenError),

    /// More interfaces than a stack tells from each other.
    #[error(transparent)]
    Interfaces(#[from] TooManyInterfaces),

    /// An address that a stack does not take.
    #[error(transparent)]
    NotTaken(#[from] AddAddressError),

    /// A UDP port that cannot be had.
    #[error("cannot serve UDP: {0}")]
    Udp(#[from] BindError),

    /// An address of the stack's own that it cannot have.
    #[error(transparent)]
    Cidr(#[from] CidrError),

    /// An address of somebody's that nobody can have.
    #[error(transparent)]
    Address(#[from] AddressError),

    /// A router that is ourselves.
    #[error("{0} is an address of this very server, which is no way out: name a router")]
    OwnGateway(IpAddr),

    /// No such VLAN.
    #[error("there is no VLAN {asked}: give one from 1 to 4094, or none for untagged frames")]
    Vlan {
        /// The VLAN asked for.
        asked: u16,
    },

    /// Port 0 means nothing on the wire.
    #[error("port 0 cannot be listened on: give a port from 1 to 65535")]
    PortZero,

    /// The process may not do what AF_XDP needs.
    #[error(
        "missing {missing}: run as root, or give the program what it takes with `setcap {}+ep`",
        crate::host::rights::Rights::FOR_SERVING
    )]
    Rights {
        /// The capabilities that are missing, separated by commas.
        missing: String,
    },

    /// A kernel without AF_XDP.
    #[error("this kernel cannot open AF_XDP sockets: it needs Linux 5.15 or later with CONFIG_XDP_SOCKETS=y")]
    NoAfXdp,

    /// The file of the cookies' secret.
    #[error("no secret for cookies: {why}")]
    CookieMaster {
        /// What is wrong with it, and the remedy.
        why: String,
    },

    /// The interface is down.
    #[error("interface {interface} is down: set it up with `ip link set dev {interface} up`")]
    InterfaceDown {
        /// The interface.
        interface: String,
    },

    /// Not so many queues.
    #[error(
        "interface {interface} has {available} queue(s), numbered from 0, but queue {asked} was asked for: ask for fewer, or add some with `ethtool -L {interface} combined N` (a veth pair gets its number when it is made)"
    )]
    NoSuchQueue {
        /// The interface.
        interface: String,
        /// Queues it has.
        available: u32,
        /// The queue asked for.
        asked: u32,
    },

    /// A queue was named twice.
    #[error("queue {queue} was asked for twice: name each queue once")]
    QueueTwice {
        /// The queue.
        queue: u32,
    },

    /// The interface was deleted under way, or moved to another network namespace.
    #[error(
        "{interface} is gone: it was deleted, or moved to another network namespace, so nothing can be served there any more; start the server again when there is such an interface"
    )]
    InterfaceGone {
        /// The interface.
        interface: String,
    },

    /// An address was given twice, in two ways.
    #[error("{address} was given twice: with two prefixes, or as the stack's own and as shared; say it once")]
    AddressTwice {
        /// The address.
        address: IpAddr,
    },

    /// More pairs of an address and a port to listen at than the XDP program has room for.
    #[error(
        "{count} pairs of an address and a TCP port were given, but {MAX_LISTENERS} can be served: give fewer of either, or start a server for the rest on another interface"
    )]
    TooManyListeners {
        /// How many there are.
        count: usize,
    },

    /// Another XDP program is attached.
    #[error(
        "another XDP program (id {program}) is attached to {interface}: see what it is with `bpftool prog show id {program}`, and detach it by ending its owner or with `ip link set dev {interface} xdp off`; what a balancer has left there, `xskip lb detach --interface {interface}` takes away"
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// The program's id.
        program: u32,
    },

    /// The kernel has the address already.
    #[error(
        "the kernel already uses {address} on {interface}: take it away with `ip address del {address}/{prefix} dev {interface}`, choose another address, or share it with --shared"
    )]
    AddressInUse {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Its prefix length there.
        prefix: u8,
    },

    /// Another station has the address already.
    #[error(
        "{address} is in use on the link of {interface}, by the station {station}: choose another address, or take it away there; --no-probe serves it all the same"
    )]
    AddressTaken {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Who has it.
        station: MacAddress,
    },

    /// An address to be shared that the kernel does not have.
    #[error(
        "the kernel does not have {address}, on {interface} or elsewhere, so it cannot be shared: add it with `ip address add`, or drop --shared to make it the stack's own"
    )]
    AddressNotShared {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
    },

    /// Nobody answers for the station that answers are to go to.
    #[error(
        "nobody on {interface} answers for {address}, which answers should go to: is the router there, and does the kernel have an address in its subnet? Or name its link address"
    )]
    StationSilent {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
    },

    /// The station that answers are to go to is none.
    #[error(
        "answers cannot go to {station}: {mac} is this interface's own link address, a group's, or nobody's; name the router's"
    )]
    NoStation {
        /// As it was named.
        station: Station,
        /// Its link address.
        mac: MacAddress,
    },

    /// An address that is another subnet's broadcast address: what comes for it would be for all of them.
    #[error("{address} is the broadcast address of {subnet}: choose another one of them, or another prefix")]
    Broadcast {
        /// The address.
        address: IpAddr,
        /// The other one, with its subnet.
        subnet: Cidr,
    },

    /// The MTU is beyond what frames hold.
    #[error(
        "the MTU of {interface} is {mtu}, but packets may be {most} bytes long at most: lower it with `ip link set dev {interface} mtu {most}`"
    )]
    MtuTooLarge {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// The largest possible.
        most: u32,
    },

    /// The kernel could not be asked or told.
    #[error(transparent)]
    Host(#[from] HostError),

    /// XDP or AF_XDP refused.
    #[error(transparent)]
    Xdp(#[from] XdpError),

    /// No secret without randomness.
    #[error("the operating system gave no random bytes ({0}): is /dev/urandom there?")]
    Random(#[from] getrandom::Error),

    /// The operating system refused something else.
    #[error("could not {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },

    /// A worker panicked outside of its application, which is a bug.
    #[error("the worker of queue {queue} ended in a panic of its own: please report it with what it printed")]
    WorkerPanicked {
        /// The queue it served.
        queue: u32,
    },

    /// The application of a worker panicked: the worker has reset its connections, and ended.
    #[error(
        "the application on the worker of queue {queue} panicked ({message}), so its connections were reset: mend the \
         application; where the panic came from is on standard error"
    )]
    ApplicationPanicked {
        /// The queue that the worker served.
        queue: u32,
        /// What the panic said.
        message: String,
    },
}

debug_as_display!(RuntimeError);

/// Why an address is not served from now on, or is still.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AddressRefused {
    /// None of the interfaces that are served.
    #[error(
        "{interface} is no interface of this server, which serves {served}: name one of these, or start another server"
    )]
    NoInterface {
        /// The interface that was named.
        interface: String,
        /// Those that there are, with commas between.
        served: String,
    },
    /// It is served already.
    #[error("{address} is served on {interface} already: remove it there first, to have it otherwise")]
    Served {
        /// The address.
        address: IpAddr,
        /// The interface that it belongs to.
        interface: String,
    },
    /// It is a router's.
    #[error("{0} is a router of this server's, and would be no way out any more: choose another address")]
    Router(IpAddr),
    /// Without it there would be nothing left to serve.
    #[error(
        "{0} is the last address of this server, which would serve nobody: add another one first, or stop the server"
    )]
    Last(IpAddr),
    /// What is refused at start as well, such as an address that somebody else has.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The stacks do not take it.
    #[error(transparent)]
    Stack(#[from] AddAddressError),
    /// It is none of ours, or stays because it is in use.
    #[error(transparent)]
    Stays(#[from] RemoveAddressError),
    /// The XDP program cannot know of it.
    #[error(transparent)]
    Program(#[from] ServeError),
    /// A worker does not answer.
    #[error(transparent)]
    Worker(#[from] CommandError),
}
