//! The least that can be between clients and backends: an XDP program that exchanges link addresses, there and back.

use super::{Balancing, BenchError, ContenderError, Member, PassOn, VIP, Works};
use crate::{host::Link, lab::INTERFACE, xdp::Require};

impl Balancing<'_> {
    /// The kernel answers who asks for the addresses; what goes to the service or comes from there is the program's.
    pub(super) fn start_redirect(&mut self, members: &[Member]) -> Result<(), BenchError> {
        self.take_address()?;
        let client = self.ground.station("client")?;
        let backends = members.iter().map(|it| self.ground.station(&format!("b{}", it.number)));
        let backends = backends.collect::<Result<Vec<_>, _>>()?;
        let attach = || {
            let mut program = PassOn::load(VIP, client, &backends)?;
            program.attach(INTERFACE, Link::find(INTERFACE)?.index, Require::Nothing)?;
            Ok::<_, ContenderError>(program)
        };
        self.works = Works::Program(self.ground.host("balancer").run(attach)??);
        Ok(())
    }
}
