use super::{LabError, LabName};
use crate::impair::Impairment;

/// The most queues of a lab's interfaces; more than any machine it was tried on has cores.
pub const QUEUES_MAX: u32 = 256;

/// The smallest MTU, in bytes: what IPv6 asks of a link (RFC 8200 §5).
pub const MTU_MIN: u32 = 1_280;

/// The largest MTU that a veth takes, in bytes. For XDP in native mode, the kernel wants a page to hold the frame.
pub const MTU_MAX: u32 = 65_535;

/// The largest MTU of an impaired lab, in bytes: the relay's ends run XDP in native mode.
pub const IMPAIRED_MTU_MAX: u32 = 3_498;

/// How a lab is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabOptions {
    /// Its name.
    pub name: LabName,
    /// The receive and the transmit queues of each interface.
    pub queues: u32,
    /// The MTU of each interface, in bytes.
    pub mtu: u32,
    /// What a relay between the two sides does to their frames; `None` for no relay, and one pair of interfaces.
    pub impair: Option<Impairment>,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self { name: LabName::default(), queues: 1, mtu: 1_500, impair: None }
    }
}

impl LabOptions {
    pub(super) fn check(&self) -> Result<(), LabError> {
        if !(1..=QUEUES_MAX).contains(&self.queues) {
            return Err(LabError::BadQueues(self.queues));
        }
        if !(MTU_MIN..=MTU_MAX).contains(&self.mtu) {
            return Err(LabError::BadMtu(self.mtu));
        }
        if self.impair.is_some() && self.mtu > IMPAIRED_MTU_MAX {
            return Err(LabError::BadImpairedMtu(self.mtu));
        }
        Ok(())
    }

    pub(super) fn describe(&self) -> String {
        let plural = if self.queues == 1 { "" } else { "s" };
        let link = match &self.impair {
            None => String::new(),
            Some(impairment) => format!(" and {}", describe_impairment(impairment)),
        };
        format!("{} queue{plural} and MTU {}{link}", self.queues, self.mtu)
    }
}

/// In words: an impairment may do no harm at all.
pub(super) fn describe_impairment(impairment: &Impairment) -> String {
    match *impairment == Impairment::default() {
        true => "a relay that does no harm".to_owned(),
        false => format!("the impairment {impairment}"),
    }
}
