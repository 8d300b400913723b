//! The checks that a file wants, as the balancer makes them.

use crate::{
    balancer::check::{Check, Http, Kind},
    lb_file::{CheckKind, File},
};

/// What is checked of each service, and at which port.
pub(super) fn of(file: &File) -> impl Iterator<Item = (String, Check, Option<u16>)> {
    file.services.iter().filter_map(|service| {
        let its = &service.check;
        let kind = match &its.kind {
            CheckKind::None => return None,
            CheckKind::Tcp => Kind::Tcp,
            CheckKind::Http { path, host } => {
                Kind::Http(Http { path: path.clone(), host: host.clone(), ..Http::default() })
            }
        };
        let check = Check { kind, interval: its.interval, timeout: its.timeout, rise: its.rise, fall: its.fall };
        Some((service.name.clone(), check, Some(its.port)))
    })
}
