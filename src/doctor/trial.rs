//! XDP and AF_XDP, tried on the interface for a moment.

use super::{Line, Trial};
use crate::{
    host::Link,
    xdp::{
        CopyMode, Program, ProgramOptions, Queue, QueueOptions, Require, Steering, WHOLE_MTU_MAX, XdpError, XdpMode,
        frame_len,
    },
};

/// A socket's memory and rings, small: nothing is going to be received.
const SMALL: QueueOptions =
    QueueOptions { frames: 256, frame_size: 2_048, ring_size: 64, huge_pages: false, longest: None, busy_poll: None };

/// The lines about XDP, whether or not it may be tried.
pub(super) fn examine(link: &Link, trial: Trial) -> Vec<Line> {
    let name = &link.name;
    if let Some(attachment) = link.xdp {
        let id = attachment.program;
        let finding = format!("the program {id} is attached already ({}), so nothing was tried", attachment.mode);
        let remedy = format!(
            "see whose it is with `bpftool prog show id {id}`; end that process, or run `ip link set dev {name} xdp off`"
        );
        return vec![Line::fail("xdp", finding, remedy)];
    }
    if trial == Trial::Forbidden {
        return vec![Line::warn("xdp", "not tried, as you asked", "leave --passive out to try it")];
    }
    if !link.up {
        return vec![Line::warn("xdp", "not tried, as the interface is down", format!("set {name} up first"))];
    }
    let fragments = link.mtu > WHOLE_MTU_MAX;
    let options = ProgramOptions { fragments, ..ProgramOptions::default() };
    let attached = Program::load(&Steering::default(), &options).and_then(|mut program| {
        let mode = program.attach(name, link.index, Require::Nothing)?;
        Ok((program, mode))
    });
    let (program, mode) = match attached {
        Ok(attached) => attached,
        Err(error) => return vec![refused("xdp", &error)],
    };
    let memory = QueueOptions { longest: fragments.then(|| frame_len(link.mtu)), ..SMALL };
    let socket = Queue::open(name, 0, mode, Require::Nothing, &memory).map(|queue| queue.copy_mode());
    drop(program);
    vec![
        judge_mode(link, mode),
        socket.map_or_else(|error| refused("zero copy", &error), |copy| judge_copy(link, copy)),
    ]
}

pub(super) fn judge_mode(link: &Link, mode: XdpMode) -> Line {
    match mode {
        XdpMode::Native => Line::ok("xdp", "runs in the driver (native mode)"),
        XdpMode::Generic => {
            let driver = link.driver.as_deref().unwrap_or("this driver");
            let finding = format!("runs in generic mode only, which is slow: {driver} refused native mode");
            let remedy = "lower the MTU to 3498 or less and switch LRO off, or use an interface whose driver has XDP";
            Line::warn("xdp", finding, remedy)
        }
    }
}

pub(super) fn judge_copy(link: &Link, mode: CopyMode) -> Line {
    match mode {
        CopyMode::ZeroCopy => Line::ok("zero copy", "the device shares its memory with the socket"),
        CopyMode::Copy if link.is_veth() => Line::ok("zero copy", "no: frames are copied, as on every veth"),
        CopyMode::Copy => {
            let remedy = "nothing to mend if that is fast enough; else use a device whose driver has zero copy";
            Line::warn("zero copy", "no: the kernel copies each frame", remedy)
        }
    }
}

/// What the kernel refused. The sentence of such an error ends in a colon and the remedy, where there is a known one.
fn refused(check: &'static str, error: &XdpError) -> Line {
    let text = error.to_string();
    match (error, text.rsplit_once(": ")) {
        (XdpError::Refused { .. }, _) | (_, None) => Line::fail(check, text, "see what the kernel says in `dmesg`"),
        (_, Some((finding, remedy))) => Line::fail(check, finding, remedy),
    }
}
