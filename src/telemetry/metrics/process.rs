//! What the kernel says of this process.

use super::families::{Families, Written};
use crate::host::memory;
use nix::{
    sys::resource::{UsageWho, getrusage},
    sys::time::TimeValLike,
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};
use prometheus_client::registry::Unit;
use std::{
    fs,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

/// The process now. What the kernel does not tell is left out.
#[derive(Debug)]
pub struct Process {
    /// Seconds since 1970 when it began: worked out once, as another value would look like a restart.
    pub began: Option<f64>,
    /// Seconds that it has used of all cores, in user space and for its system calls.
    pub cpu: Option<f64>,
    /// Octets that are in memory.
    pub resident: Option<u64>,
}

impl Process {
    /// Asks the kernel.
    pub fn look() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let micros = usage.map(|usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds());
        static BEGAN: OnceLock<Option<f64>> = OnceLock::new();
        Self {
            began: *BEGAN.get_or_init(began),
            cpu: micros.map(|micros| micros as f64 / 1e6),
            resident: memory::resident("self"),
        }
    }

    /// As families of a page.
    ///
    /// # Errors
    /// Where the page takes no more.
    pub fn write(&self, families: &mut Families<'_, '_>) -> Written {
        let &Self { began, cpu, resident } = self;
        families.gauge("process_start_time", "When the process began, since 1970.", Some(&Unit::Seconds), began)?;
        families.counter(
            "process_cpu",
            "Time that the process has used of cores, in user space and for its system calls: not that of XDP programs.",
            Some(&Unit::Seconds),
            cpu,
        )?;
        families.gauge(
            "process_resident_memory",
            "Memory of the process that is resident.",
            Some(&Unit::Bytes),
            resident,
        )
    }
}

/// Field 22 of `/proc/self/stat` (proc(5)): ticks between the machine's beginning and the process'. What stands in brackets before may
/// have spaces.
fn began() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let a_second = sysconf(SysconfVar::CLK_TCK).ok()?? as f64;
    let up = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?).as_secs_f64();
    let calendar = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    Some(calendar - up + ticks / a_second)
}
