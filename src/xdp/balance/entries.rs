//! Flows that are remembered: written by programs, taken out here.

use super::{XdpError, create};
use crate::{
    lb::{Balancer, Entry, FlowHash},
    xdp::{Pins, refusal},
};
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle, MapType, libbpf_sys};
use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
};

/// Entries that are read at a time.
const BATCH: usize = 4_096;

/// What the map is pinned as.
const PIN: &str = "entries";

/// The map, and what was last seen in it.
#[derive(Debug)]
pub(super) struct Entries {
    map: MapHandle,
    seen: HashMap<FlowHash, Entry>,
}

impl Entries {
    pub fn new(limit: usize, options: &libbpf_sys::bpf_map_create_opts) -> Result<Self, XdpError> {
        let map = create(MapType::Hash, "entries", (8, 16), limit.max(1), options)?;
        Ok(Self { map, seen: HashMap::new() })
    }

    /// Those that another process has left, where they are as many and of the same form.
    pub fn left(pins: &Pins, limit: usize) -> Result<Option<Self>, XdpError> {
        let fits = |map: &MapHandle| {
            let form = (map.map_type(), map.key_size(), map.value_size(), map.max_entries() as usize);
            form == (MapType::Hash, 8, 16, limit.max(1))
        };
        let Some(map) = pins.map(PIN).filter(fits) else { return Ok(None) };
        let mut its = Self { map, seen: HashMap::new() };
        its.read_all()?;
        Ok(Some(its))
    }

    pub fn pin(&self, pins: &Pins) -> Result<(), XdpError> {
        pins.pin(self.map.as_fd(), PIN)
    }

    /// What was last seen.
    pub fn seen(&self) -> impl Iterator<Item = (FlowHash, Entry)> {
        self.seen.iter().map(|(&hash, &entry)| (hash, entry))
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    /// Lets a balancer know all of them.
    pub fn learn(&mut self, balancer: &mut Balancer) -> Result<(), XdpError> {
        self.read_all()?;
        balancer.learn_entries(self.seen.iter().map(|(&hash, &entry)| (hash, entry)));
        Ok(())
    }

    /// Reads all there are. A batch may be short in the midst of them, as where the next bucket had no room in it: only the kernel
    /// says which one is the last.
    fn read_all(&mut self) -> Result<(), XdpError> {
        self.seen.clear();
        let (mut from, mut is_first, mut room) = (0u64, true, BATCH);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        loop {
            keys.resize(room, 0u64);
            values.resize(room, [0u64; 2]);
            let (mut next, mut count) = (0u64, room as u32);
            let begins = if is_first { ptr::null_mut() } else { (&raw mut from).cast() };
            let options = libbpf_sys::bpf_map_batch_opts {
                sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as libbpf_sys::size_t,
                ..Default::default()
            };
            // SAFETY: the map has keys of 8 octets and values of 16, and there is room for `count` of both; the places in between are
            // 4 octets of a hash map, for which there are 8; all of it outlives the call.
            let result = unsafe {
                libbpf_sys::bpf_map_lookup_batch(
                    self.map.as_fd().as_raw_fd(),
                    begins,
                    (&raw mut next).cast(),
                    keys.as_mut_ptr().cast(),
                    values.as_mut_ptr().cast(),
                    &mut count,
                    &options,
                )
            };
            match -result {
                0 | libc::ENOENT => {
                    let read = keys.iter().zip(&values).take(count as usize);
                    let entry = |&[low, high]: &[u64; 2]| Entry::from_bits(u128::from(low) | u128::from(high) << 64);
                    self.seen.extend(read.filter_map(|(&key, value)| Some((FlowHash::from_bits(key), entry(value)?))));
                    if result != 0 {
                        return Ok(());
                    }
                    (from, is_first) = (next, false);
                }
                libc::ENOSPC => room *= 2,
                libc::EINTR => {}
                errno => {
                    let source = io::Error::from_raw_os_error(errno);
                    return Err(XdpError::refused("read the flows that are remembered", source));
                }
            }
        }
    }

    /// Makes the map like a balancer's, as far as programs have not written to it since it was read: what they know is
    /// newer.
    pub fn publish(&mut self, balancer: &Balancer) -> Result<(), XdpError> {
        let wanted: HashMap<FlowHash, Entry> = balancer.entries().collect();
        for (&hash, &entry) in self.seen.iter().filter(|(hash, _)| !wanted.contains_key(hash)) {
            if self.read(hash)? == Some(entry) {
                self.remove(hash)?;
            }
        }
        for (&hash, &entry) in &wanted {
            let before = self.seen.get(&hash).copied();
            if before != Some(entry) && self.read(hash)? == before {
                let value = entry.to_bits().to_ne_bytes();
                self.map
                    .update(&hash.get().to_ne_bytes(), &value, MapFlags::ANY)
                    .map_err(|error| refusal::refused("remember a flow", &error))?;
            }
        }
        self.seen = wanted;
        Ok(())
    }

    fn read(&self, hash: FlowHash) -> Result<Option<Entry>, XdpError> {
        let found = self.map.lookup(&hash.get().to_ne_bytes(), MapFlags::ANY);
        let found = found.map_err(|error| refusal::refused("read a flow that is remembered", &error))?;
        let octets = found.and_then(|value| value.try_into().ok());
        Ok(octets.and_then(|octets| Entry::from_bits(u128::from_ne_bytes(octets))))
    }

    fn remove(&self, hash: FlowHash) -> Result<(), XdpError> {
        match self.map.delete(&hash.get().to_ne_bytes()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(refusal::refused("forget a flow", &error)),
        }
    }
}
