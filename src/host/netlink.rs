//! Netlink (RFC 3549, netlink(7)): a request to the kernel, and all that it answers. The calls block: the kernel answers at once.
//! And what it says unasked (`listener`).

use super::HostError;
use netlink_packet_core::{
    DecodeError, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use std::io;

mod listener;
#[cfg(test)]
mod tests;

pub(super) use self::listener::Listener;

/// Requests in one datagram: their answers, which the kernel writes before it reads on, fit into any receive buffer.
const BATCH: usize = 64;

/// A netlink socket in the network namespace of the thread that opened it.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer<M> {
    /// Its messages, in order.
    pub messages: Vec<M>,
    /// Why a message could not be read, if one could not; it is not among the others.
    pub unreadable: Option<DecodeError>,
    /// Whether what was listed changed meanwhile, so that the list may lack something (`NLM_F_DUMP_INTR`).
    pub is_interrupted: bool,
}

impl<M> Default for Answer<M> {
    fn default() -> Self {
        Self { messages: Vec::new(), unreadable: None, is_interrupted: false }
    }
}

impl Netlink {
    /// Opens a socket of one of netlink's protocols. `what` completes the sentence "could not ...".
    pub fn open(protocol: isize, what: &str) -> Result<Self, HostError> {
        let failed = |error| HostError::refused(what, error);
        let mut socket = Socket::new(protocol).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        // Port 0 is the kernel: what another process sends does not reach a socket that is connected to it.
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request, and reads the answer to its end. `flags` must ask for an end: by `NLM_F_ACK` or `NLM_F_DUMP`.
    pub fn ask<M>(&mut self, what: &str, message: M, flags: u16) -> Result<Answer<M>, HostError>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let failed = |error| HostError::refused(what, error);
        let bytes = self.request(message, flags);
        uninterrupted(|| self.socket.send(&bytes, 0)).map_err(failed)?;
        let mut answer = Answer::default();
        loop {
            let (datagram, _) = uninterrupted(|| self.socket.recv_from_full()).map_err(failed)?;
            if answer.take(what, self.sequence, &datagram)? {
                return Ok(answer);
            }
        }
    }

    /// Sends many requests, a batch at a time, and reads what each of them draws: one message or, with `NLM_F_ACK` among
    /// `flags`, none; or the kernel's refusal. One message that is not understood is none.
    pub fn ask_each<M>(
        &mut self,
        what: &str,
        requests: Vec<M>,
        flags: u16,
    ) -> Result<Vec<io::Result<Option<M>>>, HostError>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let failed = |error| HostError::refused(what, error);
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let first = self.sequence.wrapping_add(1);
            let batch: Vec<_> = requests.by_ref().take(BATCH).map(|message| self.request(message, flags)).collect();
            let mut answered = Answers::new(first, batch.len());
            uninterrupted(|| self.socket.send(&batch.concat(), 0)).map_err(failed)?;
            while answered.missing > 0 {
                let (datagram, _) = uninterrupted(|| self.socket.recv_from_full()).map_err(failed)?;
                answered.take(what, &datagram)?;
            }
            answers.extend(answered.of_each.into_iter().flatten());
        }
        Ok(answers)
    }

    /// The octets of the next request.
    fn request<M: NetlinkSerializable + NetlinkDeserializable>(&mut self, message: M, flags: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len().next_multiple_of(4)];
        request.serialize(&mut bytes);
        bytes
    }
}

/// The answers to a batch of requests.
struct Answers<M> {
    /// The number of the first of them.
    first: u32,
    of_each: Vec<Option<io::Result<Option<M>>>>,
    missing: usize,
}

impl<M: NetlinkDeserializable> Answers<M> {
    fn new(first: u32, requests: usize) -> Self {
        Self { first, of_each: (0..requests).map(|_| None).collect(), missing: requests }
    }

    /// Takes what a datagram holds.
    fn take(&mut self, what: &str, datagram: &[u8]) -> Result<(), HostError> {
        let bad = |why: String| HostError::Reply { what: what.to_owned(), why };
        for message in messages(datagram) {
            let (header, message) = message.map_err(|error| bad(error.to_string()))?;
            // Of an earlier request, where there is no such place; or of one that has its answer.
            let place = header.sequence_number().wrapping_sub(self.first) as usize;
            let Some(place) = self.of_each.get_mut(place).filter(|answer| answer.is_none()) else { continue };
            *place = Some(match NetlinkMessage::<M>::deserialize(message).map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(message)) => Ok(Some(message)),
                Ok(NetlinkPayload::Error(error)) if error.code.is_some() => Err(errno(error.raw_code())),
                Ok(NetlinkPayload::Overrun(_)) => return Err(bad("the kernel lost a part of it".to_owned())),
                Ok(_) | Err(_) => Ok(None),
            });
            self.missing -= 1;
        }
        Ok(())
    }
}

/// The messages of a datagram, with their headers.
fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<(NetlinkBuffer<&[u8]>, &[u8]), DecodeError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut rest);
        Some(NetlinkBuffer::new_checked(all).map(|header| {
            let length = header.length() as usize;
            rest = all.get(length.next_multiple_of(4)..).unwrap_or_default();
            (header, &all[..length])
        }))
    })
}

impl<M: NetlinkDeserializable> Answer<M> {
    /// Takes what a datagram holds. Whether it holds the answer's end.
    fn take(&mut self, what: &str, sequence: u32, datagram: &[u8]) -> Result<bool, HostError> {
        let bad = |why: String| HostError::Reply { what: what.to_owned(), why };
        for message in messages(datagram) {
            let (header, message) = message.map_err(|error| bad(error.to_string()))?;
            let (flags, is_ours) = (header.flags(), header.sequence_number() == sequence);
            // Of an earlier request, which failed before all of its answer was read.
            if !is_ours {
                continue;
            }
            self.is_interrupted |= flags & NLM_F_DUMP_INTR != 0;
            match NetlinkMessage::<M>::deserialize(message).map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(message)) => self.messages.push(message),
                Ok(NetlinkPayload::Noop) => {}
                Ok(NetlinkPayload::Done(done)) if done.code < 0 => {
                    return Err(HostError::refused(what, errno(done.code)));
                }
                Ok(NetlinkPayload::Done(_)) => return Ok(true),
                Ok(NetlinkPayload::Error(error)) if error.code.is_none() => return Ok(true),
                Ok(NetlinkPayload::Error(error)) => return Err(HostError::refused(what, errno(error.raw_code()))),
                Ok(_) => return Err(bad("the kernel lost a part of it".to_owned())), // NLMSG_OVERRUN
                Err(error) => self.unreadable = Some(error),
            }
        }
        Ok(false)
    }
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code.saturating_neg())
}

/// Once more where a signal came between.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
