//! What the hot paths took when somebody last said that this was right.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, fs, io, process::Command};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/instructions/baseline.json");

/// How much more or less than before is news: a twentieth.
const NEWS: f64 = 0.05;

/// Counts, and what they were counted with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// The compiler, and what it compiles for.
    pub toolchain: String,
    /// By path.
    pub instructions: BTreeMap<String, f64>,
}

/// The compiler's version, and its target.
///
/// # Errors
/// Where it cannot be asked.
pub fn toolchain() -> io::Result<String> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output()?.stdout;
    Ok(format!("{} for {}", String::from_utf8_lossy(&version).trim(), std::env::consts::ARCH))
}

impl Baseline {
    /// The baseline of this tree.
    ///
    /// # Errors
    /// Where it cannot be read, or is no baseline.
    pub fn read() -> io::Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(FILE)?)?)
    }

    /// Makes this the baseline of this tree.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self) -> io::Result<()> {
        fs::write(FILE, serde_json::to_string_pretty(self)? + "\n")
    }

    /// Prints what was counted beside this baseline. Returns whether all is well: no path has grown by more than a twentieth,
    /// come or gone; nor is it where another compiler was used, for which there is no baseline.
    pub fn compare(&self, counted: &Self) -> bool {
        println!("{:<36} {:>12} {:>12} {:>8}", "instructions", "baseline", "now", "");
        let names: std::collections::BTreeSet<&String> =
            self.instructions.keys().chain(counted.instructions.keys()).collect();
        let (mut worse, mut better) = (Vec::new(), Vec::new());
        for name in names {
            let (before, now) = (self.instructions.get(name), counted.instructions.get(name));
            let show = |count: Option<&f64>| count.map_or("-".into(), |count| format!("{count:.1}"));
            let growth = before.zip(now).map(|(before, now)| now / before - 1.0);
            let in_words = growth.map_or("new".into(), |growth| format!("{:+.1} %", growth * 100.0));
            println!("{name:<36} {:>12} {:>12} {in_words:>8}", show(before), show(now));
            match growth {
                Some(growth) if growth <= NEWS => better.extend((growth < -NEWS).then_some(name.as_str())),
                _ => worse.push(name.as_str()),
            }
        }
        if !better.is_empty() {
            println!("Faster by more than 5 %: {}. Accept it with `scripts/instructions --accept`.", better.join(", "));
        }
        if worse.is_empty() {
            return true;
        }
        let worse = worse.join(", ");
        if self.toolchain != counted.toolchain {
            println!(
                "More than 5 % above the baseline, or not in both: {worse}. The baseline is from {}, and this is {}: so it does not \
                 count. Compare with the same compiler.",
                self.toolchain, counted.toolchain
            );
            return true;
        }
        eprintln!(
            "More than 5 % above the baseline, or not in both: {worse}. Make it faster, or say why it has to be so and accept it \
             with `scripts/instructions --accept`."
        );
        false
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.toolchain)?;
        self.instructions.iter().try_for_each(|(name, count)| writeln!(f, "{name:<36} {count:>12.1}"))
    }
}
