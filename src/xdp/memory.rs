//! Memory of a BPF map, shared with the program that uses it.

use super::XdpError;
use std::{io, mem::size_of, os::fd::BorrowedFd, ptr::NonNull, slice};

mod sealed {
    use std::sync::atomic::{AtomicU32, AtomicU64};

    /// Types that others may change at any time.
    pub trait Shareable {}

    impl Shareable for AtomicU32 {}
    impl Shareable for AtomicU64 {}
}

/// A map's values, as numbers that others may change at any time.
#[derive(Debug)]
pub struct SharedMemory<T> {
    start: NonNull<T>,
    length: usize,
}

// SAFETY: it is a pointer to atomics (see `Shareable`), which any thread may use, and the mapping stays until the drop.
unsafe impl<T: sealed::Shareable> Send for SharedMemory<T> {}
// SAFETY: as above.
unsafe impl<T: sealed::Shareable> Sync for SharedMemory<T> {}

impl<T: sealed::Shareable> SharedMemory<T> {
    /// Maps the first `length` numbers of an array map that was made with `BPF_F_MMAPABLE`.
    pub fn of_map(map: BorrowedFd<'_>, length: usize) -> Result<Self, XdpError> {
        let bytes = std::num::NonZeroUsize::new(length * size_of::<T>());
        let refused = |source: io::Error| XdpError::refused("map the XDP program's memory", source);
        let bytes = bytes.ok_or_else(|| refused(io::ErrorKind::InvalidInput.into()))?;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps no other.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes.get(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                std::os::fd::AsRawFd::as_raw_fd(&map),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(refused(io::Error::last_os_error()));
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| refused(io::ErrorKind::InvalidData.into()))?;
        Ok(Self { start, length })
    }

    /// Memory that no map has, all zeros: for tests without a kernel's map.
    #[cfg(test)]
    pub fn private(length: usize) -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice overlaps no other.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length * size_of::<T>(), protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Self { start: NonNull::new(start.cast()).expect("a mapping is nowhere near null"), length }
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the mapping is that long and lives as long as `self`; a page is aligned for any number, every pattern of
        // bits is one, and what others change meanwhile they change atomically.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T> Drop for SharedMemory<T> {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length * size_of::<T>()) };
    }
}
