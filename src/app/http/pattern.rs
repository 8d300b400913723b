//! Bodies of any size, made as they are sent.

/// Octet number *i* is *i* mod this. A prime, so that no buffer or segment size hides an octet that is out of place.
const MODULUS: usize = 251;
const REPEATS: usize = 64;

/// The pattern often enough that it is copied in long runs.
static OCTETS: [u8; MODULUS * REPEATS] = {
    let mut octets = [0; MODULUS * REPEATS];
    let mut at = 0;
    while at < octets.len() {
        octets[at] = (at % MODULUS) as u8;
        at += 1;
    }
    octets
};

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    position: u64,
    length: u64,
}

impl Pattern {
    pub fn new(length: u64) -> Self {
        Self { position: 0, length }
    }

    pub fn is_finished(&self) -> bool {
        self.position == self.length
    }

    /// Writes the next octets and returns how many.
    pub fn fill(&mut self, room: &mut [u8]) -> usize {
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let wanted = room.len().min(left);
        let mut done = 0;
        while done < wanted {
            let offset = (self.position % MODULUS as u64) as usize;
            let run = (OCTETS.len() - offset).min(wanted - done);
            room[done..done + run].copy_from_slice(&OCTETS[offset..offset + run]);
            done += run;
            self.position += run as u64;
        }
        done
    }
}
