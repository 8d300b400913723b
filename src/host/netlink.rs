//! Netlink (RFC 3549, netlink(7)): a request to the kernel, and all that it answers. The calls block: the kernel answers at once.

use super::HostError;
use netlink_packet_core::{
    DecodeError, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use std::io;

#[cfg(test)]
mod tests;

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
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        let failed = |error| HostError::refused(what, error);
        uninterrupted(|| self.socket.send(&bytes, 0)).map_err(failed)?;
        let mut answer = Answer::default();
        loop {
            let (datagram, _) = uninterrupted(|| self.socket.recv_from_full()).map_err(failed)?;
            if answer.take(what, self.sequence, &datagram)? {
                return Ok(answer);
            }
        }
    }
}

impl<M: NetlinkDeserializable> Answer<M> {
    /// Takes what a datagram holds. Whether it holds the answer's end.
    fn take(&mut self, what: &str, sequence: u32, datagram: &[u8]) -> Result<bool, HostError> {
        let bad = |why: String| HostError::Reply { what: what.to_owned(), why };
        let mut rest = datagram;
        while !rest.is_empty() {
            let header = NetlinkBuffer::new_checked(rest).map_err(|error| bad(error.to_string()))?;
            let (length, flags) = (header.length() as usize, header.flags());
            let (message, is_ours) = (&rest[..length], header.sequence_number() == sequence);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
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
