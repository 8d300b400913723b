use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{LabError, Role};

/// The longest name, in bytes. Namespaces could have longer ones; tables of them are easier to read with these.
pub(super) const LENGTH_MAX: usize = 32;

/// What stands behind a lab's name in that of the namespace between its sides.
const RELAY: &str = "relay";

/// The name of a lab: fit to be part of a file's name, and of a command line without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LabName(String);

impl LabName {
    /// The lab's name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the network namespace on one side.
    pub fn namespace(&self, role: Role) -> String {
        format!("{}-{role}", self.0)
    }

    /// The name of the network namespace between the sides, where the link is impaired.
    pub fn relay_namespace(&self) -> String {
        format!("{}-{RELAY}", self.0)
    }

    /// The lab that a namespace of this name would belong to.
    pub(super) fn of_namespace(namespace: &str) -> Option<Self> {
        let (name, role) = namespace.rsplit_once('-')?;
        role.parse::<Role>().ok().map(drop).or((role == RELAY).then_some(()))?;
        name.parse().ok()
    }
}

impl Default for LabName {
    fn default() -> Self {
        Self("lab".to_owned())
    }
}

impl FromStr for LabName {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self, LabError> {
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let goes_on_well = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        match begins_well && goes_on_well && text.len() <= LENGTH_MAX {
            true => Ok(Self(text.to_owned())),
            false => Err(LabError::BadName(text.to_owned())),
        }
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
