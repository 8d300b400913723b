//! XDP and AF_XDP, tried on the interface for a moment.

use super::{Line, Trial};
use crate::{
    host::{Link, bpf_fs::PINS},
    xdp::{
        CopyMode, Pins, Program, ProgramOptions, Queue, QueueOptions, Require, Steering, WHOLE_MTU_MAX, XdpError,
        XdpMode, frame_len,
    },
};
use std::path::Path;

/// Whether a program is one that has outlived its balancer.
fn is_left(interface: &str, program: u32) -> bool {
    let pins = Pins::find(Path::new(PINS), interface).ok().flatten();
    pins.and_then(|pins| pins.link(interface)).is_some_and(|left| left.program == program)
}

/// A socket's memory and rings, small: nothing is going to be received.
const SMALL: QueueOptions =
    QueueOptions { frames: 256, frame_size: 2_048, ring_size: 64, huge_pages: false, longest: None, busy_poll: None };

/// The lines about XDP, whether or not it may be tried, and where it runs, if that was found out.
pub(super) fn examine(link: &Link, trial: Trial) -> (Vec<Line>, Option<XdpMode>) {
    let name = &link.name;
    if let Some(attachment) = link.xdp {
        let id = attachment.program;
        if is_left(name, id) {
            let finding = format!("a balancer that has ended has left the program {id} attached ({})", attachment.mode);
            let remedy = format!(
                "start it again; or run `xskip lb detach --interface {name}`, and the kernel has its traffic back at once"
            );
            return (vec![Line::fail("xdp", finding, remedy)], None);
        }
        let finding = format!("the program {id} is attached already ({}), so nothing was tried", attachment.mode);
        let remedy = format!(
            "see whose it is with `bpftool prog show id {id}`; end that process, or run `ip link set dev {name} xdp off`"
        );
        return (vec![Line::fail("xdp", finding, remedy)], None);
    }
    if trial == Trial::Forbidden {
        return (vec![Line::warn("xdp", "not tried, as you asked", "leave --passive out to try it")], None);
    }
    if !link.up {
        return (vec![Line::warn("xdp", "not tried, as the interface is down", format!("set {name} up first"))], None);
    }
    let fragments = link.mtu > WHOLE_MTU_MAX;
    let options = ProgramOptions { fragments, ..ProgramOptions::default() };
    let attached = Program::load(&Steering::default(), &options).and_then(|mut program| {
        let mode = program.attach(name, link.index, Require::Nothing)?;
        Ok((program, mode))
    });
    let (program, mode) = match attached {
        Ok(attached) => attached,
        Err(error) => return (vec![refused("xdp", &error)], None),
    };
    let mut lines = vec![judge_mode(link, mode)];
    lines.extend(try_socket(link, mode, fragments));
    drop(program);
    (lines, Some(mode))
}

/// What a socket can do that is opened as a server would.
fn try_socket(link: &Link, mode: XdpMode, fragments: bool) -> Vec<Line> {
    let open = |longest| {
        let queue = Queue::open(&link.name, 0, mode, Require::Nothing, &QueueOptions { longest, ..SMALL });
        queue.map(|queue| queue.copy_mode())
    };
    let is_generic = mode == XdpMode::Generic;
    let mut socket = open((fragments || is_generic).then(|| frame_len(link.mtu)));
    let mut lines = Vec::new();
    if is_generic {
        // What the kernel has merged is longer than the link's packets.
        let is_without = matches!(socket, Err(XdpError::NoMultiBuffer { .. }));
        lines.push(judge_merging(link, !is_without));
        if is_without && !fragments {
            socket = open(None);
        }
    }
    lines.push(socket.map_or_else(|error| refused("zero copy", &error), |copy| judge_copy(link, copy)));
    lines
}

/// Whether packets that the kernel has merged from several segments can be taken, which matters in generic mode.
pub(super) fn judge_merging(link: &Link, is_taken: bool) -> Line {
    if is_taken {
        return Line::ok(
            "merging",
            "what the kernel has merged (GRO) is taken as it is, with the checksums it has verified",
        );
    }
    let remedy = format!("use Linux 6.6 or later, or run `ethtool -K {} gro off` here and beneath it", link.name);
    Line::warn("merging", "packets that the kernel has merged (GRO) are lost", remedy)
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
