//! A ring of bytes that takes memory when data come and not before.

/// The smallest allocation, bytes.
pub(super) const MIN_CAPACITY: usize = 2_048;

/// The largest allocation that an empty queue keeps, bytes: what a few busy batches take.
const KEPT_CAPACITY: usize = 256 * 1_024;

/// A larger one goes where no more than this part of it is in use: so it takes as much again before it comes back.
const SHRUNK_BELOW: usize = 8;

/// The largest allocation that goes from one connection to the next, bytes.
const HANDED_ON_CAPACITY: usize = 16 * 1_024;

/// A queue of bytes whose content is at most two slices. It grows by doubling; its owner keeps the limit.
#[derive(Debug, Default)]
pub struct ByteRing {
    /// Empty, or a power of two long.
    bytes: Box<[u8]>,
    head: usize,
    len: usize,
    /// Whether the memory it takes has changed since somebody asked.
    resized: bool,
}

impl ByteRing {
    /// Bytes in the queue.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory it takes.
    pub const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Whether that has changed since [`ByteRing::weighed`] was called.
    pub const fn was_resized(&self) -> bool {
        self.resized
    }

    /// Its capacity has been asked for.
    pub const fn weighed(&mut self) {
        self.resized = false;
    }

    /// The `length` bytes that begin `offset` behind the front.
    ///
    /// # Panics
    /// Where they are not all in the queue.
    #[inline]
    pub fn range(&self, offset: usize, length: usize) -> (&[u8], &[u8]) {
        assert!(offset + length <= self.len, "the range lies within the queue");
        let start = self.index(offset);
        match self.bytes.get(start..start + length) {
            Some(whole) => (whole, &[]),
            None => {
                let (second, first) = self.bytes.split_at(start);
                (first, &second[..length - first.len()])
            }
        }
    }

    /// The longest run of bytes from the front on that lies in one piece.
    pub fn front(&self) -> &[u8] {
        self.range(0, self.len).0
    }

    /// Puts bytes at the back.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.write_at(self.len, bytes);
        self.len += bytes.len();
    }

    /// Writes bytes `offset` behind the front, beyond the back if need be, without making them part of the queue yet:
    /// that is [`ByteRing::extend`]'s work.
    #[inline]
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let needed = offset + bytes.len();
        if needed > self.bytes.len() {
            self.grow(needed);
        }
        let start = self.index(offset);
        match self.bytes.get_mut(start..start + bytes.len()) {
            Some(whole) => whole.copy_from_slice(bytes),
            None => {
                let (second, first) = self.bytes.split_at_mut(start);
                let (before, behind) = bytes.split_at(first.len());
                first.copy_from_slice(before);
                second[..behind.len()].copy_from_slice(behind);
            }
        }
    }

    /// Makes the `length` bytes behind the back, already written, part of the queue.
    ///
    /// # Panics
    /// Where that is more than there is room for, so that they cannot have been written.
    pub fn extend(&mut self, length: usize) {
        assert!(self.len + length <= self.bytes.len(), "only what was written can join the queue");
        self.len += length;
    }

    /// Room behind the back in one piece, at most `limit` bytes and at least one where `limit` is; see
    /// [`ByteRing::extend`].
    pub fn spare(&mut self, limit: usize) -> &mut [u8] {
        if limit == 0 {
            return &mut [];
        }
        if self.len == self.bytes.len() {
            self.grow(self.len + limit.min(MIN_CAPACITY));
        }
        let room = limit.min(self.bytes.len() - self.len);
        let start = self.index(self.len);
        let end = self.bytes.len().min(start + room);
        &mut self.bytes[start..end]
    }

    /// Takes `length` bytes from the front.
    ///
    /// # Panics
    /// Where there are fewer.
    #[inline]
    pub fn consume(&mut self, length: usize) {
        assert!(length <= self.len, "only what is in the queue can be taken from it");
        self.len -= length;
        // The head moves on even when the queue runs empty: out-of-order bytes may be waiting behind the back.
        self.head = self.index(length);
    }

    /// Forgets everything, out-of-order bytes too; memory that few connections would need goes back.
    pub fn clear(&mut self) {
        (self.head, self.len) = (0, 0);
        if self.bytes.len() > HANDED_ON_CAPACITY {
            self.drop_memory();
        }
    }

    /// To be called while no bytes wait behind the queue's back: gives back what is not used, where that is most of it and
    /// little has to move.
    pub fn give_back(&mut self) {
        let is_little_used = self.len <= self.bytes.len() / SHRUNK_BELOW && self.len <= HANDED_ON_CAPACITY;
        if self.bytes.len() > MIN_CAPACITY && is_little_used {
            self.shrink(MIN_CAPACITY);
        }
    }

    fn drop_memory(&mut self) {
        *self = Self { resized: true, ..Self::default() };
    }

    /// To be called while no bytes wait behind the queue's back: an empty one begins at its first byte again, where memory is at
    /// hand, and a large allocation goes that is hardly used any more.
    #[inline]
    pub fn release(&mut self) {
        if self.is_empty() {
            self.head = 0;
        }
        if self.bytes.len() > KEPT_CAPACITY && self.len <= self.bytes.len() / SHRUNK_BELOW {
            self.shrink(KEPT_CAPACITY);
        }
    }

    /// To twice what is used, but no less than `least`; to nothing where nothing is.
    #[cold]
    fn shrink(&mut self, least: usize) {
        if self.is_empty() {
            return self.drop_memory();
        }
        let mut shrunk = vec![0; (2 * self.len).next_power_of_two().max(least)].into_boxed_slice();
        let (first, second) = self.range(0, self.len);
        shrunk[..first.len()].copy_from_slice(first);
        shrunk[first.len()..self.len].copy_from_slice(second);
        (self.bytes, self.head, self.resized) = (shrunk, 0, true);
    }

    /// Where the byte `offset` behind the front lies. In an empty ring, where nothing does, that is at the beginning.
    const fn index(&self, offset: usize) -> usize {
        (self.head + offset) & self.bytes.len().wrapping_sub(1)
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        // All of the old ring moves, not just the queue: bytes beyond the back may be waiting to join it.
        let mut grown = vec![0; needed.next_power_of_two().max(MIN_CAPACITY)].into_boxed_slice();
        let first = self.bytes.len() - self.head;
        grown[..first].copy_from_slice(&self.bytes[self.head..]);
        grown[first..self.bytes.len()].copy_from_slice(&self.bytes[..self.head]);
        (self.bytes, self.head, self.resized) = (grown, 0, true);
    }
}
