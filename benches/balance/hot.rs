//! One frame again and again (`BPF_PROG_TEST_RUN`): what the program takes where nothing has to be fetched from memory.

use super::{Rig, Tables};
use std::{net::IpAddr, time::Duration};

/// Runs in a row: each lets the packet be one hop older.
const RUNS: u32 = 250;
const ROWS_OF_RUNS: usize = 2_000;

/// A segment that has come no hop.
fn segment(tables: &Tables) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    match tables.target.ip() {
        IpAddr::V4(vip) => {
            frame.extend([0x08, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 255, 6, 0, 0, 198, 18, 0, 2]);
            frame.extend(vip.octets());
        }
        IpAddr::V6(vip) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 255]);
            frame.extend([0x20, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
            frame.extend(vip.octets());
        }
    }
    frame.extend(40_000u16.to_be_bytes());
    frame.extend(tables.target.port().to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x10, 0, 0, 0, 0, 0]);
    frame
}

impl Rig {
    /// The time of a run, of the fastest runs in a row.
    pub fn hot(&self, tables: &Tables) -> Duration {
        let frame = segment(tables);
        self.with_balancer(tables, |program| {
            let times = (0..ROWS_OF_RUNS).map(|_| program.time_runs(&frame, RUNS).expect("a run"));
            times.min().unwrap_or_default()
        })
    }
}
