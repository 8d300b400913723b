//! How long a transfer takes, on wires good and bad: a table kept in the repository, so that nobody changes it without noticing.

use crate::{
    dice::PERCENT,
    link::{Faults, Wire},
    scenario::Scenario,
    speed::transfer,
};
use std::{env, fmt::Write as _, fs, path::Path, time::Duration};
use xskip_core::config::{CongestionControl, TcpConfig};

const TABLE: &str = "tests/sim/golden/transfer.txt";
/// Set to anything, it lets the table be written anew.
const REWRITE: &str = "XSKIP_SIM_REWRITE";
/// Of so many seeds, the median counts.
const SEEDS: u64 = 11;

/// Milliseconds that so many octets take one way: the median.
fn cell(congestion_control: CongestionControl, loss: u32, delay: u64, octets: u64) -> u128 {
    let tcp =
        TcpConfig { congestion_control, receive_buffer: 4_000_000, send_buffer: 4_000_000, ..TcpConfig::default() };
    let faults = Faults { loss, ..Faults::default() };
    let wire = Wire {
        delay: Duration::from_millis(delay),
        rate: Some(100_000_000),
        queue: 250_000,
        faults,
        ..Wire::default()
    };
    let scenario = |seed| Scenario::plain(seed, tcp.clone(), wire.clone()).sending(Duration::ZERO, octets);
    let mut times: Vec<u128> = (1..=SEEDS).map(|seed| transfer(&scenario(seed)).0.as_millis()).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn table() -> String {
    let mut table = String::from(
        "# Milliseconds from the SYN to the last octet at 100 Mbit/s, loss both ways: medians of 11 seeds.\n\
         # loss, %      octets   one way, ms     cubic      reno\n",
    );
    // Of a megabyte's 690 segments one in a thousand is most often none.
    for (loss, octets) in [(0, 1_000_000), (PERCENT / 10, 10_000_000), (PERCENT, 1_000_000), (3 * PERCENT, 1_000_000)] {
        for delay in [1, 10, 40, 100] {
            let [cubic, reno] =
                [CongestionControl::Cubic, CongestionControl::Reno].map(|kind| cell(kind, loss, delay, octets));
            let percent = f64::from(loss) / f64::from(PERCENT);
            let _ = writeln!(table, "{percent:>11.1}{octets:>12}{delay:>14}{cubic:>10}{reno:>10}");
        }
    }
    table
}

#[test]
fn a_megabyte_takes_what_it_took() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(TABLE);
    let table = table();
    if env::var_os(REWRITE).is_some() {
        fs::write(&path, &table).expect("the table can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        table == kept,
        "{TABLE} says otherwise. If that is meant, rewrite it: {REWRITE}=1 cargo test --test sim golden\n{kept}\nnow:\n{table}"
    );
}
