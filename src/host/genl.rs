//! Generic netlink, as far as questions about an interface need it: a command and nested attributes to one of the kernel's
//! families, and the attributes of its reply.

use super::{HostError, netlink::Netlink};
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NlaBuffer, NlasIterator, ParseableParametrized,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_sys::protocols::NETLINK_GENERIC;

/// A message of the family: its attributes, still as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    command: u8,
    attributes: Vec<u8>,
}

impl Message {
    pub(super) fn new(command: u8, attributes: Vec<u8>) -> Self {
        Self { command, attributes }
    }

    pub(super) fn with(mut self, attribute: &[u8]) -> Self {
        self.attributes.extend_from_slice(attribute);
        self
    }
}

/// An attribute, header and padding included.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute = DefaultNla::new(kind, value.to_vec());
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

/// An attribute whose value is attributes.
pub(super) fn nested(kind: u16, attributes: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, attributes)
}

/// Iterates over attributes: kind and value of each.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), DecodeError>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute: NlaBuffer<&[u8]> = attribute?;
        let length = usize::from(attribute.length());
        Ok((attribute.kind(), &attribute.into_inner()[4..length]))
    })
}

/// A `u32` in the machine's byte order.
pub(super) fn number(value: &[u8]) -> Result<u32, DecodeError> {
    let bytes = value.try_into().map_err(|_| DecodeError::from(format!("{} bytes where 4 were due", value.len())))?;
    Ok(u32::from_ne_bytes(bytes))
}

/// A string that may end in a zero byte.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

impl GenlFamily for Message {
    /// Nobody asks for it: a [`Connection`] is told its family's name, and knows the number.
    fn family_name() -> &'static str {
        ""
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..self.attributes.len()].copy_from_slice(&self.attributes);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(buffer: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { command: header.cmd, attributes: buffer.to_vec() })
    }
}

/// A generic netlink socket on which the family's number is known.
pub(super) struct Connection {
    netlink: Netlink,
    family: u16,
}

impl Connection {
    /// A connection to the family of that name, in the network namespace of the calling thread.
    pub(super) fn open(family: &str) -> Result<Self, HostError> {
        let what = &format!("open a generic netlink socket for {family}");
        let mut connection = Self { netlink: Netlink::open(NETLINK_GENERIC, what)?, family: 0 };
        let question =
            GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![GenlCtrlAttrs::FamilyName(family.to_owned())] };
        let answer = connection.ask(what, GenlMessage::from_payload(question))?;
        connection.family = answer
            .into_iter()
            .flat_map(|reply| reply.nlas)
            .find_map(|attribute| match attribute {
                GenlCtrlAttrs::FamilyId(id) => Some(id),
                _ => None,
            })
            .ok_or_else(|| HostError::Reply { what: what.to_owned(), why: "it names no family".to_owned() })?;
        Ok(connection)
    }

    /// Sends a request and gives back the attributes of the reply: empty, if the request asks for none.
    pub(super) fn request(&mut self, what: &str, message: Message) -> Result<Vec<u8>, HostError> {
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(self.family);
        Ok(self.ask(what, message)?.into_iter().flat_map(|reply| reply.attributes).collect())
    }

    fn ask<F>(&mut self, what: &str, message: GenlMessage<F>) -> Result<Vec<F>, HostError>
    where
        F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + std::fmt::Debug,
    {
        let answer = self.netlink.ask(what, message, NLM_F_ACK)?;
        match answer.unreadable {
            Some(error) => Err(HostError::Reply { what: what.to_owned(), why: error.to_string() }),
            None => Ok(answer.messages.into_iter().map(|reply| reply.payload).collect()),
        }
    }
}
