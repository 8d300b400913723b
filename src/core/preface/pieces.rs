//! What has arrived, in two pieces as a ring buffer has it: read as if it were one.

/// Octets of which the second piece follows the first.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'a>(pub(super) [&'a [u8]; 2]);

impl Pieces<'_> {
    pub(super) fn len(&self) -> usize {
        self.0[0].len() + self.0[1].len()
    }

    pub(super) fn get(&self, at: usize) -> Option<u8> {
        let [first, second] = self.0;
        first.get(at).or_else(|| second.get(at.checked_sub(first.len())?)).copied()
    }

    /// So many octets from `at`; `None` where they have not all arrived.
    pub(super) fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut octets = [0; N];
        (self.copy(at, &mut octets) == N).then_some(octets)
    }

    /// Two octets in network order.
    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    /// Copies what there is from `at` on, and says how much that was.
    pub(super) fn copy(&self, at: usize, into: &mut [u8]) -> usize {
        let mut copied = 0;
        let mut skip = at;
        for piece in self.0 {
            let rest = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            let length = rest.len().min(into.len() - copied);
            into[copied..copied + length].copy_from_slice(&rest[..length]);
            copied += length;
        }
        copied
    }
}
