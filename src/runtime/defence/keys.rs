//! Where the cookies' keys come from, and when others do: of a file, of chance, or from whoever says so.

use super::{Rotation, Watch};
use crate::{rng::SipKey, runtime::Notice, time::Instant};
use std::time::Duration;

/// How often a file is looked at for another secret.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

impl Watch {
    pub(super) fn rotate_if_due(&mut self, now: Instant) {
        let interval = match &self.rotation {
            Rotation::Never => return,
            &Rotation::Every(interval) => interval,
            Rotation::File(_) => FILE_INTERVAL,
        };
        if now - self.rotated < interval {
            return;
        }
        self.rotated = now;
        let key = match &mut self.rotation {
            Rotation::File(file) => file.look(),
            _ => SipKey::random()
                .map_err(|error| self.notices.tell(Notice::CookiesKeepKey { reason: error.to_string() }))
                .ok(),
        };
        if let Some(key) = key {
            self.rotate(now, key);
        }
    }

    /// Another master, from the next epoch on, for everybody.
    pub(super) fn rotate(&mut self, now: Instant, key: SipKey) {
        if let Rotation::File(_) = &self.rotation {
            self.notices.tell(Notice::CookiesHaveNewKey);
        }
        self.master.rotate(key, self.jar.epoch(now));
        self.jar.set_master(self.master.clone());
        self.set_keys();
        let master = self.master.clone();
        self.workers.tell_all(move |cx| cx.stack().set_cookie_master(master));
    }

    /// The program holds the keys of the last epoch, this one and the next: so the next one begins with a single store.
    pub(super) fn set_keys(&self) {
        for epoch in self.epoch.saturating_sub(1)..=self.epoch + 1 {
            self.guards().for_each(|guard| guard.set_epoch_key(epoch, self.jar.key_of(epoch)));
        }
    }
}
