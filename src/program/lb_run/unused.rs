//! What the file says in vain.

use crate::{lb::SynProxy, lb_file::File};

/// A sentence for each such thing.
pub(super) fn of(file: &File) -> Vec<String> {
    let is_used = file.services.iter().any(|service| service.syn_proxy != SynProxy::Off);
    let cookies = file.cookie_master_file.as_ref().filter(|_| !is_used).map(|path| {
        let path = path.display();
        format!("{path} is not used: no service has a `syn_proxy`, so nobody answers SYNs but backends")
    });
    cookies.into_iter().collect()
}
