//! What becomes of the frames of a service, and what is answered for it.

use crate::lb::{HAND_OVER_WINDOW_SCALE, Promise};

/// What the SYN-ACKs of a listener say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynAckFields {
    /// The MSS it announces, bytes.
    pub mss: u16,
    /// Its window, bytes: a SYN's is never scaled.
    pub window: u16,
    /// Its window scale.
    pub window_scale: u8,
    /// Whether it offers SACK to who offers it.
    pub sack: bool,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
}

/// What becomes of the frames of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The kernel gets them, though the address is the stack's own.
    Kernel,
    /// The stack gets them.
    Stack,
    /// Backends get them, by the tables of the [`Balance`](crate::xdp::Balance) that the program was loaded with.
    Balance {
        /// The service's number there.
        number: u32,
        /// Whether this is about later fragments only, which show no port.
        portless: bool,
        /// What the program promises where it answers SYNs in the backends' names.
        promise: Option<Promise>,
    },
    /// Likewise, with other ends: in mode `nat`.
    Translate {
        /// The service's number there.
        number: u32,
    },
    /// Clients get them, in mode `nat`: it is an address that packets to backends come from.
    Clients {
        /// The address's number among these.
        number: u32,
    },
    /// The stack gets them and listens: the program counts SYNs, and while the [`Guard`](crate::xdp::Guard) is armed it knows the port
    /// for an open one.
    Listener(SynAckFields),
    /// Likewise, and the program answers SYNs by cookies, and drops segments of unknown flows.
    Guarded(SynAckFields),
}

impl Action {
    /// The number in the balancer's tables, where it has one.
    pub(super) fn balanced(&self) -> u32 {
        match *self {
            Self::Balance { number, .. } | Self::Translate { number } | Self::Clients { number } => number,
            _ => 0,
        }
    }

    pub(super) fn syn_ack(&self) -> Option<&SynAckFields> {
        match self {
            Self::Listener(fields) | Self::Guarded(fields) => Some(fields),
            _ => None,
        }
    }

    /// What SYN-ACKs say, whoever's they are.
    pub(super) fn fields(&self) -> Option<SynAckFields> {
        match *self {
            Self::Balance { promise: Some(Promise { mss, window, sack, .. }), .. } => Some(SynAckFields {
                mss,
                window,
                window_scale: HAND_OVER_WINDOW_SCALE,
                sack,
                hop_limit: Promise::HOP_LIMIT,
                traffic_class: 0,
            }),
            _ => self.syn_ack().copied(),
        }
    }
}

/// `HANDS_OVER`, `PROMISES_TIMESTAMPS`, `PROMISES_SACK` and `PROMISES_SCALE` of `bpf/service.h`.
pub(super) fn promised(action: &Action) -> u8 {
    let Action::Balance { promise: Some(promise), .. } = action else { return 0 };
    let flags = [true, promise.timestamps, promise.sack, promise.window_scale];
    flags.into_iter().rev().fold(0, |flags, is| flags << 1 | u8::from(is))
}
