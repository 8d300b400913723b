//! What may change about the interface while it is served: its MTU.

use super::ServerError;
use crate::{host::Link, worker::Control};
use crossbeam::channel::{self, RecvTimeoutError, Sender};
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Looks at the interface until it is dropped, and tells the workers.
#[derive(Debug)]
pub(super) struct LinkWatch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LinkWatch {
    /// Begins with `link` as it is. `most` is the largest MTU that the frames hold.
    pub fn start(link: &Link, most: u32, controls: Vec<Arc<Control>>) -> Result<Self, ServerError> {
        let (name, mut mtu) = (link.name.clone(), link.mtu);
        let (stop, stopped) = channel::bounded::<()>(0);
        let watch = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // An interface that cannot be asked now may be there again later.
                let Ok(link) = Link::find(&name) else { continue };
                if link.mtu != mtu {
                    mtu = link.mtu;
                    announce(&link, most);
                    controls.iter().for_each(|control| control.set_mtu(mtu.min(most)));
                }
            }
        };
        let thread = thread::Builder::new().name("xskip-link".to_owned()).spawn(watch);
        let thread = thread.map_err(|source| ServerError::System { what: "start the link's watch", source })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn announce(link: &Link, most: u32) {
    let (interface, mtu) = (&link.name, link.mtu);
    match mtu <= most {
        true => tracing::info!(interface, mtu, "the MTU has changed"),
        false => tracing::warn!(
            interface,
            mtu,
            most,
            "the MTU is beyond what the frames hold: packets above the most are lost until the server is started again"
        ),
    }
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
