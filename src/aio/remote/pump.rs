//! The end of a handed-out connection that stays on its worker: a task that carries octets between the stack's rings and those of the
//! far end.

use super::{
    RemoteStream,
    link::{End, Link, wish},
};
use crate::{
    aio::{TcpStream, current},
    tcp::CloseReason,
};
use rtrb::{Consumer, Producer, RingBuffer};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// How often a pump goes on by itself before other tasks have a turn.
const ROUNDS: usize = 4;

/// The worker's end.
pub(super) struct Pump {
    stream: Option<TcpStream>,
    link: Arc<Link>,
    /// What has come.
    incoming: Producer<u8>,
    /// What is to be sent.
    outgoing: Consumer<u8>,
    is_at_end: bool,
    is_shut: bool,
}

/// What a look at both rings has come to.
enum Carried {
    /// There may be more at once.
    More,
    /// Somebody will wake the task.
    Waits,
    /// The connection is done with.
    Done,
}

impl Carried {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Done, _) | (_, Self::Done) => Self::Done,
            (Self::Waits, Self::Waits) => Self::Waits,
            _ => Self::More,
        }
    }
}

impl Pump {
    /// Both ends of a connection: a task for this worker, and a stream for anybody. Each way there is a ring of so many octets.
    pub fn new(stream: TcpStream, ring: usize) -> (Self, RemoteStream) {
        let link = Arc::new(Link::new(stream.local_addr(), stream.peer_addr()));
        let ((incoming, received), (sent, outgoing)) = (RingBuffer::new(ring), RingBuffer::new(ring));
        let far = RemoteStream::new(link.clone(), received, sent);
        stream.conn().keep(2 * ring);
        (Self { stream: Some(stream), link, incoming, outgoing, is_at_end: false, is_shut: false }, far)
    }

    fn carry(&mut self, task: &mut Context<'_>) -> Carried {
        // What is written before a wish is seen with it.
        let wishes = self.link.wishes();
        let Some(stream) = &self.stream else { return Carried::Done };
        if let Some(errands) = self.link.take_errands() {
            errands.run(stream);
        }
        let is_gone = wishes & wish::GONE == wish::GONE;
        // What had come and nobody has read makes the end an RST (RFC 9293 SHLD-3), also where it has left the stack already.
        let is_unread =
            is_gone && wishes & wish::DISCARD == 0 && self.incoming.slots() < self.incoming.buffer().capacity();
        if is_unread || wishes & wish::ABORT != 0 {
            return self.abort();
        }
        let came = if is_gone { self.throw_away(task, wishes) } else { self.bring_in(task) };
        let went = self.take_out(task);
        if wishes & (wish::SHUT | wish::WRITER_GONE) != 0 && self.outgoing.is_empty() {
            if is_gone {
                return self.let_go(wishes);
            }
            self.shut();
        }
        came.and(went)
    }

    /// What has come goes into the ring, as far as there is room.
    fn bring_in(&mut self, task: &mut Context<'_>) -> Carried {
        let Some(conn) = self.stream.as_ref().map(TcpStream::conn) else { return Carried::Done };
        let is_full = self.incoming.is_full() && {
            self.link.room.register(task.waker());
            self.incoming.is_full()
        };
        if is_full || self.is_at_end {
            return match conn.poll_end(task) {
                Poll::Ready(reason) => self.over(reason),
                Poll::Pending => Carried::Waits,
            };
        }
        let (room, incoming) = (self.incoming.slots(), &mut self.incoming);
        let put = |piece: &[u8]| {
            let (_, rest) = incoming.push_partial_slice(piece);
            debug_assert!(rest.is_empty(), "no more was asked for than there is room for");
        };
        match conn.poll_read(task, room, put) {
            Poll::Pending => return Carried::Waits,
            Poll::Ready(Ok(0)) => {
                self.is_at_end = true;
                self.link.reach_end();
            }
            Poll::Ready(Ok(_)) => self.link.reader.wake(),
            Poll::Ready(Err(_)) => return conn.end().map_or(Carried::Waits, |reason| self.over(reason)),
        }
        Carried::More
    }

    /// Nobody reads any more: what comes is the peer's error, unless it was said to be thrown away.
    fn throw_away(&mut self, task: &mut Context<'_>, wishes: u8) -> Carried {
        let Some(stream) = &self.stream else { return Carried::Done };
        let limit = stream.linger();
        if limit == Some(Duration::ZERO) {
            return self.abort();
        }
        if limit.is_some() {
            // Of a connection that has ended, the next look hears.
            let _ = stream.conn().with_stream(|stream| stream.set_user_timeout(limit));
        }
        if self.is_at_end {
            return Carried::Waits;
        }
        match stream.conn().poll_read(task, usize::MAX, |_| {}) {
            Poll::Ready(Ok(0)) => self.is_at_end = true,
            Poll::Ready(Ok(_)) if wishes & wish::DISCARD == 0 => return self.abort(),
            Poll::Ready(Ok(_)) => return Carried::More,
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        Carried::Waits
    }

    /// What was written goes to the stack, as far as there is room.
    fn take_out(&mut self, task: &mut Context<'_>) -> Carried {
        let Some(conn) = self.stream.as_ref().map(TcpStream::conn) else { return Carried::Done };
        let waiting = self.outgoing.slots();
        let Ok(chunk) = self.outgoing.read_chunk(waiting) else { return Carried::Waits };
        if chunk.is_empty() {
            return Carried::Waits;
        }
        let (first, second) = chunk.as_slices();
        match conn.poll_write(task, [first, second].into_iter()) {
            Poll::Pending => Carried::Waits,
            Poll::Ready(Ok(length)) => {
                chunk.commit(length);
                self.link.writer.wake();
                Carried::More
            }
            // Where it has not ended, our side was closed by whoever had the stream before.
            Poll::Ready(Err(_)) => self.over(conn.end().unwrap_or(CloseReason::Aborted)),
        }
    }

    /// The connection is no more, and the far end hears why.
    fn over(&self, reason: CloseReason) -> Carried {
        // A worker that ends resets what is left.
        let has_stopped = reason == CloseReason::Aborted && current::reactor().is_draining();
        self.link.finish(if has_stopped { End::Stopped } else { End::Closed(reason) });
        Carried::Done
    }

    fn abort(&mut self) -> Carried {
        self.stream.take().into_iter().for_each(TcpStream::abort);
        self.link.finish(End::Closed(CloseReason::Aborted));
        Carried::Done
    }

    /// Closes our side, once.
    fn shut(&mut self) {
        if let Some(stream) = self.stream.as_mut().filter(|_| !self.is_shut) {
            self.is_shut = true;
            // Where it has ended, that is told elsewhere.
            let _ = stream.shutdown();
        }
    }

    /// Nobody has it any more, and everything is said.
    fn let_go(&mut self, wishes: u8) -> Carried {
        // Otherwise its drop closes it.
        if wishes & wish::DISCARD != 0
            && let Some(stream) = self.stream.take()
        {
            stream.conn().keep(0);
            stream.close_discarding();
        }
        Carried::Done
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        // Before anything is looked at: what is done behind the look wakes.
        self.link.worker.register(task.waker());
        for _ in 0..ROUNDS {
            match self.carry(task) {
                Carried::More => {}
                Carried::Waits => return Poll::Pending,
                Carried::Done => return Poll::Ready(()),
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // A waker that stays would keep what it wakes.
        drop((self.link.worker.take(), self.link.room.take()));
        self.link.finish(End::Stopped);
        if let Some(stream) = &self.stream {
            stream.conn().keep(0);
        }
    }
}
