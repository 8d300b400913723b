//! A NIC of two queues that is no veth: what comes back goes to the queue that its port names, and to no other. Needs root.

mod common;

use common::{Name, is_root, served::ok, skip};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{self, Duration},
};
use xskip_cli::{
    config::StackConfig,
    host::netns::Namespace,
    stack::{Event, LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{ChecksumPolicy, InterfaceId, MacAddress, Packet, parse},
};

const QUEUES: usize = 2;
const TAP: &str = "tap0";

/// A namespace with a TAP of two queues, and a host behind it that listens on port 80. The device places flows as a NIC's
/// receive-side scaling does: each has a queue, here by the parity of the port, which no driver tells anybody.
struct Nic {
    name: Name,
    stop: Arc<AtomicBool>,
    host: Option<JoinHandle<()>>,
    /// The ports from which connections came.
    ports: Arc<Mutex<BTreeSet<u16>>>,
}

impl Nic {
    fn new() -> Self {
        let name = Name::new();
        let namespace = name.namespace("server");
        ok(Command::new("ip").args(["netns", "add", &namespace]).output().unwrap());
        let queues = Namespace::open(&namespace).unwrap().run(|| [open_queue(), open_queue()]).unwrap();
        ok(Command::new("ip").args(["-n", &namespace, "link", "set", TAP, "up"]).output().unwrap());
        let (stop, ports) = (Arc::default(), Arc::default());
        let (told, seen) = (Arc::clone(&stop), Arc::clone(&ports));
        let host = Some(thread::spawn(move || serve(queues, &told, &seen)));
        Self { name, stop, host, ports }
    }

    fn xskip(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xskip"));
        command.args(arguments);
        ok(Namespace::open(&self.name.namespace("server")).unwrap().output(&mut command).unwrap())
    }
}

impl Drop for Nic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.host.take().map(JoinHandle::join);
    }
}

/// One more queue of the device, which the first call makes.
fn open_queue() -> File {
    let queue = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun").unwrap();
    let mut name = [0; libc::IFNAMSIZ];
    name.iter_mut().zip(TAP.bytes()).for_each(|(to, from)| *to = from as libc::c_char);
    let flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE) as libc::c_short;
    let request = libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one `ifreq`, which lives until the call returns.
    let outcome = unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    queue
}

/// A host that accepts connections on port 80 and keeps them.
fn serve(mut queues: [File; QUEUES], stop: &AtomicBool, ports: &Mutex<BTreeSet<u16>>) {
    let address = LocalAddress { cidr: "198.18.5.2/24".parse().unwrap(), ownership: Ownership::Own };
    let mac = MacAddress([2, 0, 0, 0, 5, 2]);
    let mut stack = Stack::new(StackConfig::default(), mac, vec![address], Secrets::from_seed(5));
    stack.listen(None, 80).unwrap();
    let begun = time::Instant::now();
    let mut buffer = [0; 2_048];
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::ZERO + begun.elapsed();
        let mut idle = true;
        for queue in &mut queues {
            match queue.read(&mut buffer) {
                Ok(length) => {
                    stack.handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
                    idle = false;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        stack.handle_timeout(now);
        while let Some(event) = stack.poll_event() {
            if let Event::Accepted(id, _) = event {
                ports.lock().unwrap().insert(stack.stream(now, id).unwrap().peer_addr().port());
            }
        }
        while let Some(length) = stack.poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
            let frame = &buffer[..length];
            queues[queue_of(frame)].write_all(frame).unwrap();
        }
        if idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn queue_of(frame: &[u8]) -> usize {
    match parse(frame, ChecksumPolicy::Verify).map(|parsed| parsed.packet) {
        Ok(Packet::Tcp(_, segment)) => usize::from(segment.header.destination_port) % QUEUES,
        _ => 0,
    }
}

fn can_run() -> bool {
    let is_device = std::fs::metadata("/dev/net/tun").is_ok_and(|found| found.file_type().is_char_device());
    if !is_device {
        skip("TAP devices need /dev/net/tun");
    }
    is_root() && is_device
}

#[test]
fn every_connection_that_an_application_opens_comes_back_to_its_worker() {
    if !can_run() {
        return;
    }
    let nic = Nic::new();
    let target = ["--interface", TAP, "--address", "198.18.5.1/24", "--target", "198.18.5.2:80"];
    let what = ["--mode", "idle", "--connections", "40", "--duration", "0.5", "--timeout", "5", "--json", "-"];
    let report: Value = serde_json::from_slice(&nic.xskip(&[&["load"], &target[..], &what].concat())).unwrap();
    assert_eq!((&report["established"], &report["failed_total"]), (&40.into(), &0.into()), "{report:#}");
    assert_eq!(nic.ports.lock().unwrap().len(), 40, "no two workers pick the same port");
    assert_eq!(report["workers"].as_array().map(Vec::len), Some(QUEUES), "{report:#}");
}
