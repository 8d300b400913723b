//! The page of a balancer: what there is to know at one moment. The [exporter](crate::telemetry::metrics) is everybody's, and where it can
//! be had moves when the file says another address.

mod page;
mod proxied;

pub(super) use self::page::{Page, Reloads};
