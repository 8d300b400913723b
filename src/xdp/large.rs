//! Packets that take several chunks of memory (`XDP_USE_SG`): each is one piece for whoever looks at it or builds it, gathered
//! when it comes in and scattered when it goes out.

/// The option of a descriptor whose packet goes on in the next one.
pub(super) const CONTINUED: u32 = libc::XDP_PKT_CONTD;

/// Buffers that are used again and again.
#[derive(Debug, Default)]
struct Pool {
    buffers: Vec<Vec<u8>>,
    idle: Vec<u32>,
}

impl Pool {
    fn take(&mut self) -> u32 {
        self.idle.pop().unwrap_or_else(|| {
            self.buffers.push(Vec::new());
            self.buffers.len() as u32 - 1
        })
    }
}

/// The pieces of one queue. There are as many as the queue's owner holds at once.
#[derive(Debug)]
pub(super) struct Large {
    received: Pool,
    to_send: Pool,
    /// The packet of which more is to come.
    incoming: Option<u32>,
    /// Bytes of the longest packet to be sent.
    longest: usize,
    /// The chunks it takes besides the first.
    pub more_chunks: u32,
}

impl Large {
    /// For sending packets of up to `longest` bytes, in chunks of `room` bytes.
    pub fn new(longest: u32, room: u32) -> Self {
        let more_chunks = longest.div_ceil(room).saturating_sub(1);
        Self {
            received: Pool::default(),
            to_send: Pool::default(),
            incoming: None,
            longest: longest as usize,
            more_chunks,
        }
    }

    /// Whether a packet has begun and not ended.
    pub fn is_gathering(&self) -> bool {
        self.incoming.is_some()
    }

    /// Adds a chunk to the packet that is coming in; the packet's buffer, where it was the last one.
    pub fn gather(&mut self, chunk: &[u8], is_last: bool) -> Option<u32> {
        let buffer = match self.incoming.take() {
            Some(buffer) => buffer,
            None => {
                let buffer = self.received.take();
                self.received.buffers[buffer as usize].clear();
                buffer
            }
        };
        self.received.buffers[buffer as usize].extend_from_slice(chunk);
        if !is_last {
            self.incoming = Some(buffer);
        }
        is_last.then_some(buffer)
    }

    /// A packet that has been gathered.
    pub fn received(&self, buffer: u32) -> &[u8] {
        &self.received.buffers[buffer as usize]
    }

    /// A buffer to build a packet in.
    pub fn take(&mut self) -> u32 {
        let buffer = self.to_send.take();
        self.to_send.buffers[buffer as usize].resize(self.longest, 0);
        buffer
    }

    /// The packet that is being built.
    pub fn to_send(&self, buffer: u32) -> &[u8] {
        &self.to_send.buffers[buffer as usize]
    }

    /// The packet that is being built, to be written to.
    pub fn to_send_mut(&mut self, buffer: u32) -> &mut [u8] {
        &mut self.to_send.buffers[buffer as usize]
    }

    /// Takes back a buffer that was received in.
    pub fn done_receiving(&mut self, buffer: u32) {
        self.received.idle.push(buffer);
    }

    /// Takes back a buffer that was to be sent from.
    pub fn done_sending(&mut self, buffer: u32) {
        self.to_send.idle.push(buffer);
    }
}

#[cfg(test)]
mod tests;
