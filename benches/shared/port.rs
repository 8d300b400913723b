//! Frames on their way from one stack to the other.

/// Room for one frame, octets: that of an AF_XDP chunk.
const CHUNK: usize = 2_048;

/// A batch of frames in buffers that are used again and again. Nothing is copied on the way: what one stack writes, the other
/// one reads where it is.
#[derive(Debug)]
pub struct Batch {
    chunks: Box<[[u8; CHUNK]]>,
    lengths: Vec<usize>,
    /// Frames that were taken out.
    taken: usize,
}

impl Batch {
    /// Room for so many frames.
    pub fn new(depth: usize) -> Self {
        Self { chunks: vec![[0; CHUNK]; depth].into_boxed_slice(), lengths: Vec::with_capacity(depth), taken: 0 }
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.lengths.clear();
        self.taken = 0;
    }

    /// Whether there is no room for another frame.
    pub fn is_full(&self) -> bool {
        self.lengths.len() == self.chunks.len()
    }

    /// Whether all frames have been taken out.
    pub fn is_empty(&self) -> bool {
        self.taken == self.lengths.len()
    }

    /// Frames in it.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Lets `write` put a frame into the next buffer and say how long it is.
    pub fn push<T>(&mut self, write: impl FnOnce(&mut [u8]) -> (usize, T)) -> T {
        let (length, result) = write(&mut self.chunks[self.lengths.len()]);
        self.lengths.push(length);
        result
    }

    /// Has `write` fill buffers until none is left or it has nothing more to say.
    pub fn fill(&mut self, mut write: impl FnMut(&mut [u8]) -> Option<usize>) {
        while let Some(chunk) = self.chunks.get_mut(self.lengths.len())
            && let Some(length) = write(chunk)
        {
            self.lengths.push(length);
        }
    }

    /// The frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().zip(&self.lengths).map(|(chunk, &length)| &chunk[..length])
    }

    /// The next frame that was not taken out yet.
    pub fn take(&mut self) -> Option<&[u8]> {
        let length = *self.lengths.get(self.taken)?;
        self.taken += 1;
        Some(&self.chunks[self.taken - 1][..length])
    }
}
