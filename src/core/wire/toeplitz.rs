//! The hash by which NICs spread flows over their queues (Microsoft, "RSS hashing functions"; the kernel's
//! Documentation/networking/scaling.rst).

use super::FourTuple;
use std::net::IpAddr;

/// The longest input, bytes: two IPv6 addresses and two ports.
const INPUT_MAX: usize = 36;

/// How a NIC picks the queue of a TCP segment: by the Toeplitz hash of its addresses and ports, through a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveScaling {
    key: Vec<u8>,
    indirection: Vec<u32>,
}

impl ReceiveScaling {
    /// That of a NIC with this key and this table of queues, a power of two of them, by the hash's low bits. `None` where either
    /// is too short for the hash of IPv6, or the table's length is no power of two.
    pub fn new(key: Vec<u8>, indirection: Vec<u32>) -> Option<Self> {
        let is_usable = key.len() >= INPUT_MAX + 4 && indirection.len().is_power_of_two();
        is_usable.then_some(Self { key, indirection })
    }

    /// Whether anything arrives on this queue.
    pub fn reaches(&self, queue: u32) -> bool {
        self.indirection.contains(&queue)
    }

    /// The queue on which this flow's segments arrive.
    pub fn queue_of(&self, tuple: &FourTuple) -> u32 {
        let hash = hash_flow(&self.key, tuple);
        // The constructor has seen that there is at least one entry.
        self.indirection[hash as usize & (self.indirection.len() - 1)]
    }
}

/// The hash of the segments that come in from `tuple`'s remote end: source and destination address, source and destination port.
fn hash_flow(key: &[u8], tuple: &FourTuple) -> u32 {
    let mut input = [0; INPUT_MAX];
    let mut length = 0;
    let mut put = |bytes: &[u8]| {
        input[length..length + bytes.len()].copy_from_slice(bytes);
        length += bytes.len();
    };
    for address in [tuple.remote.address, tuple.local.address] {
        match address {
            IpAddr::V4(address) => put(&address.octets()),
            IpAddr::V6(address) => put(&address.octets()),
        }
    }
    put(&tuple.remote.port.to_be_bytes());
    put(&tuple.local.port.to_be_bytes());
    toeplitz(key, &input[..length])
}

/// The Toeplitz hash: for each bit that is set in `input`, the 32 bits of the key that begin at its place, added without carry.
/// A key counts as if it were followed by zeros.
pub fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
    let mut key = key.iter().copied().chain(std::iter::repeat(0));
    let mut window = (0..4).fold(0, |window, _| window << 8 | u32::from(key.next().unwrap_or_default()));
    let mut hash = 0;
    for (&byte, next) in input.iter().zip(key) {
        for bit in (0..8).rev() {
            if byte >> bit & 1 == 1 {
                hash ^= window;
            }
            window = window << 1 | u32::from(next >> bit & 1);
        }
    }
    hash
}
