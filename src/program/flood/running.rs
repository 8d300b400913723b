use super::{FloodError, FloodOptions, Generator, stamp::Stamper};
use crate::{
    bpf::{FloodPlan, FloodProgram, FloodReplies},
    host::{Link, cores},
    xdp::{Queue, QueueOptions, Require, XdpError, XdpMode},
};
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Frames made at once for the AF_XDP socket.
const BATCH: u64 = 64;
/// How long the AF_XDP sender sleeps where nothing is due.
const NAP: Duration = Duration::from_micros(200);

/// What a flood has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FloodCounts {
    /// Frames sent.
    pub sent: u64,
    /// SYN-ACKs that came back.
    pub syn_acks: u64,
    /// RSTs that came back.
    pub resets: u64,
    /// Other segments that acknowledge something.
    pub acks: u64,
    /// Anything else that came back.
    pub others: u64,
}

impl FloodCounts {
    /// What came to it since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            syn_acks: self.syn_acks - before.syn_acks,
            resets: self.resets - before.resets,
            acks: self.acks - before.acks,
            others: self.others - before.others,
        }
    }
}

/// A flood under way. Dropping it ends it, and leaves nothing behind.
#[derive(Debug)]
pub struct Flood {
    shared: Arc<Shared>,
    generator: Generator,
    thread: Option<JoinHandle<Result<Duration, FloodError>>>,
}

/// What the sending thread and its owner share.
#[derive(Debug)]
struct Shared {
    program: FloodProgram,
    /// Frames sent through the AF_XDP socket.
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Flood {
    /// Starts sending. The calling thread must be in the interface's network namespace.
    ///
    /// # Errors
    /// [`FloodError`] says what stands in the way. Nothing has been sent then.
    pub fn start(options: &FloodOptions) -> Result<Self, FloodError> {
        let (link, plan) = options.plan()?;
        let mut program = FloodProgram::load(&plan)?;
        let mode = program.attach(&link.name, link.index, Require::Nothing)?;
        let mut generator = options.chosen_generator();
        let socket = |generator| match generator {
            Generator::AfXdp => open_socket(&link, options.queue, mode).map(Some),
            _ => Ok(None),
        };
        let mut queue = socket(generator)?;
        if generator == Generator::LiveFrames && !program.has_live_frames(link.index, options.queue) {
            if options.generator == Generator::LiveFrames {
                return Err(FloodError::NoLiveFrames);
            }
            tracing::warn!("this kernel has no live frames: the flood goes through an AF_XDP socket, more slowly");
            generator = Generator::AfXdp;
            queue = socket(generator)?;
        }
        let shared = Arc::new(Shared { program, sent: AtomicU64::new(0), stop: AtomicBool::new(false) });
        let sender = Sender { shared: shared.clone(), link, plan, queue, queue_id: options.queue };
        let (core, background) = (options.core, options.background);
        let thread = thread::Builder::new().name("xskip-flood".to_owned()).spawn(move || {
            take_place(core, background);
            sender.run()
        });
        let thread = Some(thread.map_err(FloodError::Thread)?);
        Ok(Self { shared, generator, thread })
    }

    /// What makes its frames.
    pub fn generator(&self) -> Generator {
        self.generator
    }

    /// What it has done so far.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn counts(&self) -> Result<FloodCounts, FloodError> {
        let FloodReplies { syn_acks, resets, acks, others } = self.shared.program.replies()?;
        let sent = self.shared.program.sent() + self.shared.sent.load(Ordering::Relaxed);
        Ok(FloodCounts { sent, syn_acks, resets, acks, others })
    }

    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Makes it end; [`Flood::finish`] still tells what it did.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.program.stop();
    }

    /// Waits for its end: what it did, and how long it took.
    ///
    /// # Errors
    /// What stopped it before its time.
    pub fn finish(mut self) -> Result<(FloodCounts, Duration), FloodError> {
        let elapsed = match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result?,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Duration::ZERO,
        };
        // What is on its way back still counts.
        thread::sleep(Duration::from_millis(20));
        Ok((self.counts()?, elapsed))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn open_socket(link: &Link, queue: u32, mode: XdpMode) -> Result<Queue, XdpError> {
    Queue::open(&link.name, queue, mode, Require::Nothing, &QueueOptions::default())
}

/// Where the calling thread runs, and before whom.
fn take_place(core: Option<usize>, background: bool) {
    if let Some(Err(error)) = core.map(cores::pin) {
        tracing::warn!(core, %error, "the flood's thread could not be pinned to its core");
    }
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if background && set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_err() {
        tracing::warn!("the flood's thread could not be put behind the others on its core");
    }
}

/// What the sending thread owns.
struct Sender {
    shared: Arc<Shared>,
    link: Link,
    plan: FloodPlan,
    queue: Option<Queue>,
    queue_id: u32,
}

impl Sender {
    fn run(mut self) -> Result<Duration, FloodError> {
        let started = Instant::now();
        match self.queue.take() {
            Some(queue) => self.send_through(queue, started)?,
            None => {
                while !self.shared.program.is_over() {
                    self.shared.program.run(self.link.index, self.queue_id)?;
                }
            }
        }
        Ok(started.elapsed().min(self.plan.duration))
    }

    fn send_through(&self, mut queue: Queue, started: Instant) -> Result<(), FloodError> {
        let mut stamper = Stamper::new(&self.plan);
        let mut made = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let elapsed = started.elapsed();
            if elapsed >= self.plan.duration {
                break;
            }
            let due = match self.plan.rate {
                Some(rate) => (elapsed.as_nanos() * u128::from(rate) / 1_000_000_000) as u64 - made,
                None => BATCH,
            };
            let mut sent = 0;
            while sent < due.min(BATCH) {
                let Some(mut frame) = queue.allocate() else { break };
                let length = stamper.next(queue.buffer(&mut frame));
                queue.transmit(frame, length);
                sent += 1;
            }
            made += sent;
            queue.flush()?;
            self.shared.sent.store(made, Ordering::Relaxed);
            if sent == 0 {
                thread::sleep(NAP);
            }
        }
        queue.close();
        Ok(())
    }
}
