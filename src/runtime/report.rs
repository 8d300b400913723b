//! What was got at the start, and what was done in the end.

use super::{ListenerDefence, Notice};
use crate::{
    drops::{DropReason, Drops},
    stats::StackStats,
    worker,
    worker::Placement,
    xdp::{CopyMode, Require, Verdicts, XdpMode},
};
use std::fmt;

/// What was asked for and what the kernel gave: no fall-back is silent.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The interface.
    pub interface: String,
    /// What was required of it.
    pub require: Require,
    /// Where the XDP program runs.
    pub mode: XdpMode,
    /// For each queue: its number, the core that its worker is pinned to, if it is, and whether its frames are copied.
    pub queues: Vec<(u32, Option<usize>, CopyMode)>,
    /// Who has which flow.
    pub placement: Placement,
}

impl Setup {
    /// Whether everything is as fast as it was asked for: native mode and zero copy.
    pub fn is_full(&self) -> bool {
        self.mode == XdpMode::Native && self.queues.iter().all(|&(_, _, copy)| copy == CopyMode::ZeroCopy)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zero_copies = self.queues.iter().filter(|&&(_, _, copy)| copy == CopyMode::ZeroCopy).count();
        let copying = match zero_copies {
            0 => "copy mode",
            n if n == self.queues.len() => "zero copy",
            _ => "zero copy on some queues, copy mode on others",
        };
        let Self { interface, require, mode, .. } = self;
        write!(
            f,
            "{interface}: asked for native XDP with zero copy (required: {require}), got {mode} XDP with {copying}"
        )?;
        for (queue, core, _) in &self.queues {
            match core {
                Some(core) => write!(f, "; queue {queue} on core {core}")?,
                None => write!(f, "; queue {queue} on no core of its own")?,
            }
        }
        if self.queues.len() > 1 {
            f.write_str(match self.placement {
                Placement::ByQueue => "; flows stay on the queue they come to",
                Placement::ByHash => "; flows are placed by a hash",
            })?;
        }
        Ok(())
    }
}

/// What was done, all workers together.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// What each interface was served with, in the order of each worker's ports.
    pub setups: Vec<Setup>,
    /// What each worker did.
    pub workers: Vec<worker::Report>,
    /// What the XDP program decided.
    pub verdicts: Verdicts,
    /// How each listener was defended in the end.
    pub defence: Vec<ListenerDefence>,
    /// What there was to say, from the beginning on: the first 256 of it.
    pub notices: Vec<Notice>,
}

impl RunReport {
    /// The counters of all stacks together.
    pub fn stats(&self) -> StackStats {
        self.workers.iter().fold(StackStats::default(), |mut sum, worker| {
            sum.merge(&worker.stats);
            sum
        })
    }

    /// The refusals of all stacks together.
    pub fn drops(&self) -> Drops {
        self.workers.iter().fold(Drops::default(), |mut sum, worker| {
            sum.merge(&worker.drops);
            sum
        })
    }

    /// A sentence for the user where the counters show a mistake in the set-up rather than bad luck.
    pub fn diagnosis(&self) -> Option<&'static str> {
        (self.drops().get(DropReason::PartialTcpChecksum) > 0).then_some(
            "segments came with unfinished checksums, so their sender leaves them to hardware that is not there: turn \
             that off at the sender with `ethtool -K IF tx off`",
        )
    }
}
