//! Fields that are changed in place, and what that changes in a checksum (RFC 1624 equation 3).

/// By how much a one's complement sum of words has grown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Difference(u64);

impl Difference {
    /// Writes a word at an even place.
    pub fn put_word(&mut self, frame: &mut [u8], at: usize, new: u16) {
        self.change(word(frame, at), new);
        frame[at..at + 2].copy_from_slice(&new.to_be_bytes());
    }

    /// Writes two words at once. Options need not stand at even places: at an odd one each octet counts as the other half of a word.
    pub fn put_long(&mut self, frame: &mut [u8], at: usize, new: u32, is_odd: bool) {
        let (old, sum) = (long(frame, at), |value: u32| fold(u64::from(value >> 16) + u64::from(value & 0xffff)));
        let place = |sum: u16| if is_odd { sum.swap_bytes() } else { sum };
        self.change(place(sum(old)), place(sum(new)));
        frame[at..at + 4].copy_from_slice(&new.to_be_bytes());
    }

    /// Writes words at an even place.
    pub fn put_words(&mut self, frame: &mut [u8], at: usize, new: &[u8]) {
        for (index, octets) in new.chunks_exact(2).enumerate() {
            self.put_word(frame, at + 2 * index, u16::from_be_bytes([octets[0], octets[1]]));
        }
    }

    /// Makes up for it in the checksum at `at`.
    pub fn settle(self, frame: &mut [u8], at: usize) {
        let sum = fold(u64::from(!word(frame, at)) + self.0);
        frame[at..at + 2].copy_from_slice(&(!sum).to_be_bytes());
    }

    fn change(&mut self, old: u16, new: u16) {
        self.0 += u64::from(!old) + u64::from(new);
    }
}

/// The word at `at`.
pub(super) fn word(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// The two words at `at`.
pub(super) fn long(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}

/// A sum in one word; each step leaves less, and four leave nothing to fold.
fn fold(mut sum: u64) -> u16 {
    for _ in 0..4 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
