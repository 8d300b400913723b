//! Workers put together: each with a queue of every interface, a stack that knows what it serves, and its part of the flows.

use super::{
    Runtime, RuntimeError,
    defence::FilterWriter,
    interface::Opened,
    listening::{Listening, Wanted},
    plan::Plan,
};
use crate::{
    config::StackConfig,
    host::memory,
    stack::{Secrets, Stack},
    tcp::cookie::EPOCH,
    time::Instant,
    wire::{Endpoint, InterfaceId},
    worker::{Clock, HandOff, Placement, Port, Shutdown, Worker, WorkerIndex, WorkerOptions, Workers},
    xdp::{SpliceTable, XdpError, XdpMode},
};
use std::sync::Arc;

/// Connections may take one part in so many of the memory there is, unless somebody says how much.
const MEMORY_SHARE: u64 = 4;

/// What all workers are made of.
pub(super) struct Assembly<'a> {
    runtime: &'a Runtime,
    plan: &'a Plan,
    config: StackConfig,
    secrets: Secrets,
    clock: Clock,
    /// Where each interface's program runs.
    modes: Vec<XdpMode>,
    splices: Option<Arc<SpliceTable>>,
}

impl<'a> Assembly<'a> {
    pub fn new(runtime: &'a Runtime, plan: &'a Plan, opened: &[Opened], secrets: Secrets, clock: Clock) -> Self {
        let modes: Vec<_> = opened.iter().map(|opened| opened.mode).collect();
        Self { runtime, plan, config: stack_config(runtime, plan, modes[0]), secrets, clock, modes, splices: None }
    }

    /// With room for pairs of connections that the programs translate.
    pub fn with_splices(self, splices: Option<Arc<SpliceTable>>) -> Self {
        Self { splices, ..self }
    }

    /// Whom ports are made known to. Each interface's program knows those that there are from the beginning.
    pub fn listening(&self, opened: &[Opened], workers: Workers) -> Result<Arc<Listening>, RuntimeError> {
        let listening = Listening::new(self.runtime, self.plan, opened, workers, &self.config.tcp);
        let tcp = self.runtime.ports.iter().map(|&port| Wanted::tcp(None, port));
        let mut all = tcp.chain(self.runtime.udp_ports.iter().map(|&port| Wanted::udp(None, port)));
        all.try_for_each(|wanted| listening.steer(wanted)).map_err(XdpError::from)?;
        Ok(Arc::new(listening))
    }

    /// The workers, none of which has begun. They take the queues.
    pub fn assemble(
        &self,
        opened: &mut [Opened],
        workers: &Workers,
        shutdown: &Shutdown,
        listening: &Arc<Listening>,
    ) -> Result<Vec<Worker>, RuntimeError> {
        let take = |opened: &mut Opened| std::mem::take(&mut opened.queues).into_iter();
        let mut queues: Vec<_> = opened.iter_mut().map(take).collect();
        let mut assembled = Vec::new();
        for number in 0..workers.len() {
            let index = WorkerIndex { number, workers: workers.len() };
            let queues = queues.iter_mut().zip(interfaces()).filter_map(|(queues, id)| Some((id, queues.next()?)));
            let ports = queues.map(|(id, queue)| Port::new(id, queue)).collect();
            let mut stack = self.stack(index)?;
            if self.runtime.listens() {
                let filters = opened.iter().map(|opened| opened.program.guard().filter().clone()).collect();
                stack.observe_flows(Box::new(FilterWriter(filters)));
            }
            if let Some(splices) = &self.splices {
                let links = self.plan.interfaces.iter().map(|plan| plan.link.index).collect();
                let share = splices.share(number as u32, workers.len() as u32, links, self.clock.now());
                stack.set_carrier(Box::new(share));
            }
            self.connect(&mut stack, index)?;
            let mailboxes = workers.mailboxes().clone();
            let hand_off = HandOff::new(self.plan.placement, self.secrets.clone(), number, mailboxes);
            let options = WorkerOptions { idle: self.runtime.idle, drain: self.runtime.drain };
            let worker = Worker::new(ports, stack, self.clock, hand_off, options, shutdown.clone());
            assembled.push(worker.with_tap(self.runtime.tap.clone()).with_steering(listening.clone()));
        }
        Ok(assembled)
    }

    /// A stack that knows what it serves, which flows are its own, and what time it is.
    fn stack(&self, index: WorkerIndex) -> Result<Stack, RuntimeError> {
        let Self { runtime, plan, .. } = self;
        let first = &plan.interfaces[0];
        let mut stack = Stack::new(self.config.clone(), first.mac(), first.addresses.clone(), self.secrets.clone());
        for (of_one, mode) in plan.interfaces.iter().zip(&self.modes).skip(1) {
            let id = stack.add_interface(of_one.config(*mode))?;
            of_one.addresses.iter().try_for_each(|&local| stack.add_address(id, local))?;
        }
        for &port in &runtime.ports {
            stack.listen_with(None, port, runtime.max_segment)?;
        }
        match &first.scaling {
            Some(scaling) => stack.set_receive_scaling(first.queues[index.number], scaling.clone()),
            None if plan.placement == Placement::ByHash => stack.set_share(index.number, index.workers),
            None => {}
        }
        for &port in &runtime.udp_ports {
            stack.bind_udp(None, port)?;
        }
        stack.set_calendar(self.clock.calendar(Instant::ZERO));
        if runtime.takes_over {
            stack.accept_cookies_until(Instant::ZERO + 2 * EPOCH);
        }
        Ok(stack)
    }

    /// Opens those of the connections asked for that are this worker's.
    fn connect(&self, stack: &mut Stack, index: WorkerIndex) -> Result<(), RuntimeError> {
        for remote in self.runtime.remotes.iter().skip(index.number).step_by(index.workers) {
            let remote = Endpoint { address: remote.ip(), port: remote.port() };
            let now = self.clock.now();
            let id = stack.connect(now, remote, None)?;
            // Its SYN is yet to be sent.
            if let Some(mut stream) = stack.stream(now, id) {
                stream.set_max_segment(self.runtime.max_segment);
            }
        }
        Ok(())
    }
}

/// The stack's names for the interfaces, in the order in which they were given.
pub(super) fn interfaces() -> impl Iterator<Item = InterfaceId> {
    (0..InterfaceId::LIMIT).filter_map(InterfaceId::at)
}

/// The configuration as the first interface wants it; others are added to the stack.
fn stack_config(runtime: &Runtime, plan: &Plan, mode: XdpMode) -> StackConfig {
    let first = &plan.interfaces[0];
    let mut config = runtime.config.clone();
    config.tcp.mtu = first.link.mtu as usize;
    config.checksums = first.checksums(mode);
    config.vlan = first.vlan;
    config.gateways.extend(&first.gateways);
    config.answers_to = first.answers_to;
    let memory = runtime.memory.or_else(|| memory::available().map(|bytes| bytes / MEMORY_SHARE));
    let each = memory.map(|bytes| bytes / plan.workers().max(1) as u64);
    config.memory = config.memory.or(each.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)));
    config
}
