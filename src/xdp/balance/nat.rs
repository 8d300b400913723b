//! The table of flows that are rewritten, shared with programs: `bpf/nat.h`.

use super::{XdpError, create, mmapable, options};
use crate::{
    lb::{MAX_SOURCES, NatClaim, NatSettings, NatTable},
    xdp::{
        Pins,
        memory::SharedMemory,
        refusal,
        steer::{address_octets, types},
    },
};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};
use std::{
    mem::{offset_of, size_of},
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU32, AtomicU64},
};

const SET_LEN: usize = size_of::<types::nat_set>();
const BUCKET_LEN: usize = size_of::<types::nat_bucket>();
const ADDRESS_LEN: usize = 16;

/// What the maps are called, and pinned as.
const SETTINGS: &str = "nat_settings";
const SETS: &str = "nat_sets";
const INDEX: &str = "nat_index";

/// The maps.
#[derive(Debug)]
pub(super) struct Nat {
    settings: NatSettings,
    said: MapHandle,
    sets: MapHandle,
    index: MapHandle,
    flows: SharedMemory<AtomicU64>,
    places: SharedMemory<AtomicU32>,
    /// Where another process has left it: what that may have been at when it was killed.
    left: Option<Vec<NatClaim>>,
}

impl Nat {
    /// A table without flows.
    pub fn new(settings: &NatSettings) -> Result<Self, XdpError> {
        let array = |name, value, entries| create(MapType::Array, name, (4, value), entries, &mmapable());
        let said = create(MapType::Array, SETTINGS, (4, size_of::<types::nat_settings>()), 1, &options(0))?;
        let sets = array(SETS, SET_LEN, settings.sets() as usize)?;
        let index = array(INDEX, BUCKET_LEN, settings.buckets() as usize)?;
        said.update(&0u32.to_ne_bytes(), &octets(settings), MapFlags::ANY)
            .map_err(|error| refusal::refused("tell the XDP program how to rewrite packets", &error))?;
        Self::of(settings, said, sets, index)
    }

    /// The table that another process has left, where it is one of the same sources, size and secrets.
    pub fn left(pins: &Pins, settings: &NatSettings) -> Result<Option<Self>, XdpError> {
        let array = |name, value: usize, entries: u32| {
            let form = (MapType::Array, value as u32, entries);
            pins.map(name).filter(|map| (map.map_type(), map.value_size(), map.max_entries()) == form)
        };
        let said = array(SETTINGS, size_of::<types::nat_settings>(), 1);
        let is_same = |map: &MapHandle| {
            map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).is_ok_and(|it| it == Some(octets(settings)))
        };
        let (Some(said), Some(sets), Some(index)) =
            (said.filter(is_same), array(SETS, SET_LEN, settings.sets()), array(INDEX, BUCKET_LEN, settings.buckets()))
        else {
            if pins.names().iter().any(|name| name == SETTINGS) {
                tracing::warn!(
                    "flows in mode nat end: [nat] has other sources or room than before, or the machine other CPUs"
                );
            }
            return Ok(None);
        };
        let mut its = Self::of(settings, said, sets, index)?;
        its.left = its.table().map(|table| table.claims());
        Ok(Some(its))
    }

    fn of(settings: &NatSettings, said: MapHandle, sets: MapHandle, index: MapHandle) -> Result<Self, XdpError> {
        let flows = SharedMemory::of_map(sets.as_fd(), NatTable::words(settings))?;
        let places = SharedMemory::of_map(index.as_fd(), NatTable::places(settings))?;
        Ok(Self { settings: settings.clone(), said, sets, index, flows, places, left: None })
    }

    /// Leaves the table to whoever comes next. Of one that is there already, what nobody is at any more is freed.
    pub fn pin(&self, pins: &Pins) -> Result<(), XdpError> {
        if let (Some(table), Some(claims)) = (self.table(), &self.left) {
            table.free(claims);
            return Ok(());
        }
        // The settings first and last: without them the others are nobody's.
        pins.remove(|name| name == SETTINGS);
        pins.pin(self.sets.as_fd(), SETS)?;
        pins.pin(self.index.as_fd(), INDEX)?;
        pins.pin(self.said.as_fd(), SETTINGS)
    }

    /// The maps by their names in the program.
    pub fn maps(&self) -> [(&'static str, BorrowedFd<'_>); 3] {
        [(SETTINGS, self.said.as_fd()), (SETS, self.sets.as_fd()), (INDEX, self.index.as_fd())]
    }

    pub fn table(&self) -> Option<NatTable<'_>> {
        NatTable::new(&self.settings, self.flows.as_slice(), self.places.as_slice())
    }
}

/// Leaves nothing to anybody: what is pinned is of another table.
pub(super) fn unpin(pins: &Pins) {
    pins.remove(|name| [SETTINGS, SETS, INDEX].contains(&name));
}

/// `struct nat_settings`.
fn octets(settings: &NatSettings) -> Vec<u8> {
    let mut octets = vec![0; size_of::<types::nat_settings>()];
    let mut put = |at: usize, field: &[u8]| octets[at..at + field.len()].copy_from_slice(field);
    let keys: Vec<u8> = settings.keys.iter().flat_map(|key| key.to_ne_bytes()).collect();
    put(offset_of!(types::nat_settings, keys), &keys);
    put(offset_of!(types::nat_settings, set_mask), &(settings.sets() - 1).to_ne_bytes());
    put(offset_of!(types::nat_settings, bucket_mask), &(settings.buckets() - 1).to_ne_bytes());
    put(offset_of!(types::nat_settings, cpus), &settings.cpus().to_ne_bytes());
    put(offset_of!(types::nat_settings, ports), &settings.ports_of_cpu().to_ne_bytes());
    for (version, first) in [(true, 0), (false, MAX_SOURCES)] {
        let sources = settings.sources(version);
        let count = offset_of!(types::nat_settings, sources) + size_of::<u32>() * usize::from(!version);
        put(count, &(sources.len() as u32).to_ne_bytes());
        for (number, source) in (first..).zip(sources) {
            put(offset_of!(types::nat_settings, source) + number * ADDRESS_LEN, &address_octets(*source));
        }
    }
    octets
}

const _: () = assert!(SET_LEN == 8 * 96 && BUCKET_LEN == 64);
