//! Settings of one side's kernel that are there for a contender only, and put back when it goes.

use super::ContenderError;
use crate::{
    host::{Link, netns::Namespace, sysctl},
    lab::{INTERFACE, Side},
};
use std::{mem, net::IpAddr};

/// Changed settings, with what they were before. Dropping the value puts them back.
#[derive(Debug)]
pub(super) struct Settings {
    namespace: Namespace,
    before: Vec<(&'static str, String)>,
    gateways: Vec<IpAddr>,
}

impl Settings {
    /// None changed yet.
    pub fn of(side: &Side) -> Result<Self, ContenderError> {
        let namespace = Namespace::open(side.namespace().name())?;
        Ok(Self { namespace, before: Vec::new(), gateways: Vec::new() })
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

    /// Sends what goes to nobody on the link by way of these addresses. Without a route back, a kernel drops the SYN of a
    /// forged source, and does not defend itself at all.
    pub fn route_via(&mut self, gateways: &[IpAddr]) -> Result<(), ContenderError> {
        let Self { namespace, gateways: routed, .. } = self;
        namespace.run(|| {
            let link = Link::find(INTERFACE)?;
            for &gateway in gateways {
                if link.add_default_route(gateway)? {
                    routed.push(gateway);
                }
            }
            Ok(())
        })?
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let (before, gateways) = (mem::take(&mut self.before), mem::take(&mut self.gateways));
        if let Err(error) = self.namespace.run(|| restore(before, gateways)) {
            tracing::warn!("settings of {} were not put back: {error}", self.namespace.name());
        }
    }
}

/// Puts everything back, the last change first. What is refused is gone with its interface, as a rule.
fn restore(before: Vec<(&'static str, String)>, gateways: Vec<IpAddr>) {
    for gateway in gateways.into_iter().rev() {
        if let Err(error) = Link::find(INTERFACE).and_then(|link| link.remove_default_route(gateway)) {
            tracing::debug!("a route stayed: {error}");
        }
    }
    for (key, value) in before.into_iter().rev() {
        if let Err(error) = sysctl::write(key, &value) {
            tracing::debug!("a setting stayed: {error}");
        }
    }
}
