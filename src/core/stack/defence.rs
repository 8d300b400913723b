//! How a stack answers SYNs, and who hears of its flows.

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

/// Keeps a list of the flows that are real: connections, what is left of them in TIME-WAIT, and handshakes whose numbers are no cookies.
/// Whoever drops what is neither on the list nor ends a handshake by its cookie drops nothing of a client's.
pub trait FlowObserver: Send {
    /// A flow has come to be. Called before anyone can use it.
    fn opened(&mut self, tuple: &FourTuple);

    /// By what number it knows a flow. Two flows may have the same.
    fn fingerprint(&self, tuple: &FourTuple) -> FlowFingerprint;

    /// A flow is no more.
    fn closed(&mut self, fingerprint: FlowFingerprint);

    /// A flow will soon be no more: memory that [`FlowObserver::closed`] needs can be prefetched.
    fn prefetch_close(&self, _: FlowFingerprint) {}
}

/// What is left of a 4-tuple in TIME-WAIT, for an observer of flows: 48 bits of a hash of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowFingerprint([u16; 3]);

impl FlowFingerprint {
    /// The lower 48 bits of `number`.
    pub const fn new(number: u64) -> Self {
        Self([number as u16, (number >> 16) as u16, (number >> 32) as u16])
    }

    /// The number it was made of.
    pub const fn get(self) -> u64 {
        let [low, middle, high] = self.0;
        (high as u64) << 32 | (middle as u64) << 16 | low as u64
    }
}

/// The observer, if there is one.
#[derive(Default)]
pub(super) struct Observer(Option<Box<dyn FlowObserver>>);

impl Observer {
    pub fn set(&mut self, observer: Box<dyn FlowObserver>) {
        self.0 = Some(observer);
    }

    pub fn opened(&mut self, tuple: &FourTuple) {
        if let Some(observer) = &mut self.0 {
            observer.opened(tuple);
        }
    }

    pub fn fingerprint(&self, tuple: &FourTuple) -> FlowFingerprint {
        self.0.as_ref().map_or(FlowFingerprint::default(), |observer| observer.fingerprint(tuple))
    }

    pub fn closed(&mut self, fingerprint: FlowFingerprint) {
        if let Some(observer) = &mut self.0 {
            observer.closed(fingerprint);
        }
    }

    pub fn prefetch_close(&self, fingerprint: FlowFingerprint) {
        if let Some(observer) = &self.0 {
            observer.prefetch_close(fingerprint);
        }
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}
