//! Memory that will be needed soon. Whoever works through a batch names it for all of the batch first: so the waits for memory
//! pass together, and not one after the other.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks the CPU to bring all of `value` closer. Nothing but time depends on it; where the CPU cannot be asked, nothing happens.
pub fn prefetch<T: ?Sized>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<i8>();
    for offset in (0..size_of_val(value)).step_by(LINE) {
        line(start.wrapping_add(offset));
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn line(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86-64 CPU has the instruction, and it neither reads nor faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn line(_: *const i8) {}
