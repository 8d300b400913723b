//! Settings of one side's kernel that are there for a contender only, and put back when it goes.

use super::ContenderError;
use crate::host::{netns::Namespace, sysctl};
use std::mem;

/// Changed settings, with what they were before. Dropping the value puts them back.
#[derive(Debug)]
pub(in crate::bench) struct Settings {
    namespace: Namespace,
    before: Vec<(&'static str, String)>,
}

impl Settings {
    /// None changed yet.
    pub fn of(side: &Namespace) -> Result<Self, ContenderError> {
        let namespace = Namespace::open(side.name())?;
        Ok(Self { namespace, before: Vec::new() })
    }

    /// Changes some.
    pub fn write(&mut self, settings: &[(&'static str, &str)]) -> Result<(), ContenderError> {
        let Self { namespace, before, .. } = self;
        namespace.run(|| {
            for &(key, value) in settings {
                let old = sysctl::read(key)?.unwrap_or_default();
                sysctl::write(key, value)?;
                before.push((key, old));
            }
            Ok(())
        })?
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let before = mem::take(&mut self.before);
        if let Err(error) = self.namespace.run(|| restore(before)) {
            tracing::warn!("settings of {} were not put back: {error}", self.namespace.name());
        }
    }
}

/// Puts everything back, the last change first. What is refused is gone with its interface, as a rule.
fn restore(before: Vec<(&'static str, String)>) {
    for (key, value) in before.into_iter().rev() {
        if let Err(error) = sysctl::write(key, &value) {
            tracing::debug!("a setting stayed: {error}");
        }
    }
}
