//! Of services in mode `proxy`: connections, and how they end.

use super::page::Page;
use crate::telemetry::metrics::{Families, Written};
use prometheus_client::registry::Unit;

impl Page {
    pub(super) fn proxied(&self, families: &mut Families<'_, '_>) -> Written {
        families.gauges(
            "xskip_lb_proxy_connections",
            "Connections of clients that a backend has now.",
            None,
            self.of_backends(|it| Some(it.proxied?.open)),
        )?;
        families.counters(
            "xskip_lb_proxy_connections_opened",
            "Connections of clients that a backend was given since it came.",
            None,
            self.of_backends(|it| Some(it.proxied?.connected)),
        )?;
        families.counters(
            "xskip_lb_proxy_connections_spliced",
            "Connections of a backend's clients that XDP went on with.",
            None,
            self.of_backends(|it| Some(it.proxied?.spliced)),
        )?;
        families.counters(
            "xskip_lb_proxy_connections_failed",
            "Connections that a backend did not answer.",
            None,
            self.of_backends(|it| Some(it.proxied?.failed)),
        )?;
        families.counters(
            "xskip_lb_proxy_to_backend",
            "Octets that clients have said to a backend.",
            Some(&Unit::Bytes),
            self.of_backends(|it| Some(it.proxied?.to_backend)),
        )?;
        families.counters(
            "xskip_lb_proxy_to_clients",
            "Octets that a backend has said to clients.",
            Some(&Unit::Bytes),
            self.of_backends(|it| Some(it.proxied?.to_clients)),
        )?;
        let proxied = self.status.services.iter().filter_map(|it| Some((&*it.name, &it.proxied.as_ref()?.ended)));
        let fates = proxied.flat_map(|(service, fates)| fates.iter().map(move |fate| (service, fate)));
        families.counters(
            "xskip_lb_proxy_connections_ended",
            "Connections of a service's clients that have ended, by how.",
            None,
            fates.map(|(service, (fate, count))| ([("service", service), ("how", fate.name())], *count)),
        )
    }
}
