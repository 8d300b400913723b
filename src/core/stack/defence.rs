//! How a stack meets SYNs, and who hears of its flows.

use crate::wire::FourTuple;

/// What is done about a SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SynMode {
    /// It is remembered, so that its SYN-ACK can be sent again. Its sequence number is a cookie all the same.
    #[default]
    Cache,
    /// It is answered and forgotten: the cookie is all there is.
    Cookie,
}

/// Someone who keeps a list of the flows that are real: connections, and what is left of them in TIME-WAIT.
pub trait FlowWatch: Send {
    /// A flow has come to be. Called before anyone can use it.
    fn opened(&mut self, tuple: &FourTuple);

    /// By what name it knows a flow. Two flows may have the same.
    fn name(&self, tuple: &FourTuple) -> FlowName;

    /// A flow is no more.
    fn closed(&mut self, name: FlowName);

    /// A flow will soon be no more: whoever needs memory for that can have it fetched.
    fn closes_soon(&self, _: FlowName) {}
}

/// What is left of a 4-tuple in TIME-WAIT, for whoever watches: 48 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowName([u16; 3]);

impl FlowName {
    /// The lower 48 bits of `name`.
    pub const fn new(name: u64) -> Self {
        Self([name as u16, (name >> 16) as u16, (name >> 32) as u16])
    }

    /// The number it was made of.
    pub const fn get(self) -> u64 {
        let [low, middle, high] = self.0;
        (high as u64) << 32 | (middle as u64) << 16 | low as u64
    }
}

/// Whoever watches, if anyone does.
#[derive(Default)]
pub(super) struct Watch(Option<Box<dyn FlowWatch>>);

impl Watch {
    pub fn set(&mut self, watch: Box<dyn FlowWatch>) {
        self.0 = Some(watch);
    }

    pub fn opened(&mut self, tuple: &FourTuple) {
        if let Some(watch) = &mut self.0 {
            watch.opened(tuple);
        }
    }

    pub fn name(&self, tuple: &FourTuple) -> FlowName {
        self.0.as_ref().map_or(FlowName::default(), |watch| watch.name(tuple))
    }

    pub fn closed(&mut self, name: FlowName) {
        if let Some(watch) = &mut self.0 {
            watch.closed(name);
        }
    }

    pub fn closes_soon(&self, name: FlowName) {
        if let Some(watch) = &self.0 {
            watch.closes_soon(name);
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watch").field(&self.0.is_some()).finish()
    }
}
