//! A map of maps, whose members are exchanged as a whole.

use super::{XdpError, create, options, refusal};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, libbpf_sys};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// How many maps wait at most: each has a descriptor until then, of which a process may have a thousand or so.
const AT_ONCE: usize = 256;

/// Each exchange takes until no program reads what was there before, which is milliseconds: so several are made at once.
#[derive(Debug)]
pub(super) struct Outer {
    map: MapHandle,
    waiting: Vec<(u32, MapHandle)>,
}

impl Outer {
    /// With places for members that look like `inner`.
    pub fn new(name: &str, entries: usize, inner: &MapHandle) -> Result<Self, XdpError> {
        let options = libbpf_sys::bpf_map_create_opts { inner_map_fd: inner.as_fd().as_raw_fd() as u32, ..options(0) };
        let map = create(MapType::ArrayOfMaps, name, (4, 4), entries, &options)?;
        Ok(Self { map, waiting: Vec::new() })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    /// Puts a map into a place, by the next [`Outer::flush`] at the latest.
    pub fn put(&mut self, index: u32, inner: MapHandle) -> Result<(), XdpError> {
        self.waiting.push((index, inner));
        if self.waiting.len() < AT_ONCE { Ok(()) } else { self.flush() }
    }

    /// When this returns, every map is where it was put, each by one store, and no program reads what was there before. What could not be
    /// done is done by the next one.
    pub fn flush(&mut self) -> Result<(), XdpError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let place = |(index, inner): &(u32, MapHandle)| (index.to_ne_bytes(), inner.as_fd().as_raw_fd().to_ne_bytes());
        let (keys, values): (Vec<[u8; 4]>, Vec<[u8; 4]>) = self.waiting.iter().map(place).unzip();
        let at_once = self.map.update_batch(
            keys.as_flattened(),
            values.as_flattened(),
            keys.len() as u32,
            MapFlags::ANY,
            MapFlags::ANY,
        );
        // Before Linux 5.14 maps of maps take them one by one.
        if at_once.is_err() {
            let mut places = keys.iter().zip(&values);
            places
                .try_for_each(|(key, value)| self.map.update(key, value, MapFlags::ANY))
                .map_err(|error| refusal::refused("exchange maps of the load balancer", &error))?;
        }
        self.waiting.clear();
        Ok(())
    }
}
