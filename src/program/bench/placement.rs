use super::BenchError;
use crate::host::cores::Cores;

/// Where things run: the server has a core of its own where there are two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    /// The server's core.
    pub server: usize,
    /// The core of all that drives it.
    pub clients: usize,
}

impl Placement {
    /// The first core and the last.
    pub fn choose() -> Result<Self, BenchError> {
        let cores: Vec<_> = Cores::read()?.iter().collect();
        match (cores.first(), cores.last()) {
            (Some(&server), Some(&clients)) => Ok(Self { server, clients }),
            _ => Err(BenchError::NoCore),
        }
    }
}
