//! What is attached, for people and for programs.

use super::{BackendError, Hook, Prefix, handover, hook::Found};
use crate::bpf::{BackendSettings, BackendTallies};
use serde::{Serialize, Serializer};
use std::{
    fmt::{self, Display},
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

/// What is taken out of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// When that was said, in seconds since 1970.
    pub attached_at: u64,
    /// The outer destinations.
    pub addresses: Vec<IpAddr>,
    /// The outer sources; none for anybody.
    #[serde(serialize_with = "as_text")]
    pub from: Vec<Prefix>,
    /// The inner destinations.
    pub vips: Vec<IpAddr>,
    /// Whether handshakes are taken over that a balancer has answered.
    pub handover: bool,
    /// Until when the cookies of the master before count as well, in seconds since 1970.
    pub former_master_until: Option<u64>,
}

fn as_text<S: Serializer>(prefixes: &[Prefix], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(prefixes.iter().map(Prefix::to_string))
}

impl From<&BackendSettings> for Settings {
    fn from(settings: &BackendSettings) -> Self {
        let prefixes = settings.senders.iter().filter_map(|&(address, length)| Prefix::new(address, length));
        Self {
            attached_at: settings.attached_at,
            addresses: settings.tunnel_ends.clone(),
            from: prefixes.collect(),
            vips: settings.vips.clone(),
            handover: settings.master.is_some(),
            former_master_until: settings.former_master.map(handover::ends),
        }
    }
}

/// The counter that the last refusal belongs to.
const REFUSED: &str = "refused_adoption";

/// Several things in one line.
fn list(things: &[impl Display]) -> String {
    things.iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}

impl Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  tunnels end at  {}", list(&self.addresses))?;
        let from = if self.from.is_empty() { "anybody".to_owned() } else { list(&self.from) };
        writeln!(f, "  taken from      {from}")?;
        write!(f, "  for             {}", list(&self.vips))?;
        if self.handover {
            write!(f, "\n  hand-over       on: handshakes with a good cookie are taken over")?;
        }
        match self.former_master_until.map(|until| until.saturating_sub(super::now().as_secs())) {
            Some(0) | None => Ok(()),
            Some(left) => write!(f, "\n  former master   counts for another {}", while_of(left)),
        }
    }
}

/// The program on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The interface.
    pub interface: String,
    /// Always true: where nothing is attached there is no more to say.
    pub attached: bool,
    /// How it is attached.
    pub hook: Hook,
    /// What it takes; none if another version of this program has attached it, whose tables look different.
    pub settings: Option<Settings>,
    /// What it has done since it was attached.
    pub counters: Option<BackendTallies>,
    /// Why the kernel has last refused to adopt a connection, if it has.
    pub last_refusal: Option<String>,
    /// How many programs and filters of others run on what the interface receives.
    pub others: usize,
}

impl Status {
    pub(super) fn read(interface: String, found: &Found, others: usize) -> Result<Self, BackendError> {
        let read = found.backend.settings();
        let settings = read.map_err(|source| BackendError::refused("read the settings", source))?;
        // Another version's counters are not understood.
        let known = settings.is_some();
        let last_refusal = if known { found.backend.last_refusal()? } else { None };
        Ok(Self {
            interface,
            attached: true,
            hook: found.hook,
            settings: settings.as_ref().map(Settings::from),
            counters: known.then(|| found.backend.tallies()).transpose()?,
            last_refusal: last_refusal.map(|error| error.to_string()),
            others,
        })
    }
}

/// A while in words, of the two largest units.
fn while_of(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, hook, .. } = self;
        let Some(settings) = &self.settings else {
            return write!(
                f,
                "{interface}: attached by {hook}, by another version of xskip, whose settings this one cannot read: attach it anew"
            );
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        writeln!(f, "{interface}: attached by {hook} for {}", while_of(now.saturating_sub(settings.attached_at)))?;
        write!(f, "{settings}")?;
        if self.others > 0 {
            write!(f, "\n  beside it       {} of others' programs or filters", self.others)?;
        }
        let counted = self.counters.iter().flat_map(BackendTallies::iter).filter(|&(_, count)| count > 0);
        let why = |name| match (&self.last_refusal, name) {
            (Some(why), REFUSED) => format!("   lastly: {why}"),
            _ => String::new(),
        };
        let lines: Vec<_> = counted.map(|(name, count)| format!("  {name:<20} {count:>12}{}", why(name))).collect();
        match lines.is_empty() {
            true => write!(f, "\n  no packet so far"),
            false => write!(f, "\n{}", lines.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::while_of;

    #[test]
    fn a_while_in_words() {
        let words = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 1_000_000].map(while_of);
        let expected = ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 0 h", "11 d 13 h"];
        assert_eq!(words, expected);
    }
}
