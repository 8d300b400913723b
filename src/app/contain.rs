//! A service's panic ends the connection it was called for, and no other.

use crate::{log_limit::LogLimit, stack::ConnectionId, worker::Context};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a service. `None` where that panics: the connection that it was called for, if any, is reset, and the others never know.
pub(crate) fn contain<T>(
    cx: &mut Context<'_>,
    connection: Option<ConnectionId>,
    call: impl FnOnce(&mut Context<'_>) -> T,
) -> Option<T> {
    // A service's state after a panic is its author's business, as the trait says; the stack is only ever changed by whole calls.
    let called = catch_unwind(AssertUnwindSafe(|| call(cx)));
    called.map_err(|_| note_panic(cx, connection)).ok()
}

#[cold]
fn note_panic(cx: &mut Context<'_>, connection: Option<ConnectionId>) {
    let count = cx.stack().count_application_panic();
    let peer = connection.and_then(|id| cx.stream(id)).map(|mut stream| {
        stream.abort();
        stream.peer_addr()
    });
    // The panic's own message is on standard error. Nobody's request is to fill the log.
    static PANICS: LogLimit = LogLimit::new();
    let Some(more) = PANICS.admit() else { return };
    match peer {
        Some(peer) => {
            tracing::error!(%peer, count, "the service panicked, and the connection was reset; mend the service{more}")
        }
        None => tracing::error!(count, "the service panicked outside of any connection; mend the service{more}"),
    }
}
