//! Segments that break a rule each. What tries to end a parser is here, by name.

use super::draft::{Draft, Way};
use crate::{bpf::FloodTemplate, wire::tcp::TcpFlags};

/// Bytes behind the beginning of the TCP header.
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;
const OPTIONS: usize = 20;

/// All of them, for the IP version of the target.
pub(super) fn templates(way: &Way) -> Vec<FloodTemplate> {
    let syn = |options: &[u8]| way.segment(TcpFlags::SYN, options, 0);
    let ack = || way.segment(TcpFlags::ACK, &[], 8);
    let mut all = lengths(way);
    all.extend(if way.target.is_ipv4() { ipv4(way) } else { ipv6(way) });
    // Flags that never stand together, none, and all of them.
    for flags in [
        TcpFlags::SYN | TcpFlags::FIN,
        TcpFlags::SYN | TcpFlags::RST,
        TcpFlags::FIN,
        TcpFlags::empty(),
        TcpFlags::all(),
    ] {
        all.push(way.segment(flags, &[], 0).finish());
    }
    // Options: of no length, longer than the list, of the wrong length, cut off, unknown, and an endless one of NOPs.
    for options in [
        &[2, 0, 5, 180][..],
        &[8, 10, 0, 0],
        &[2, 3, 5, 180],
        &[1, 1, 1, 8],
        &[254, 4, 0, 0],
        &[1; 40],
        &[3, 3, 255, 0],
        &[2, 4, 0, 0],
    ] {
        all.push(syn(options).finish());
    }
    // Checksums that do not add up.
    for draft in [syn(&[2, 4, 5, 180]), ack()] {
        let mut template = draft.finish();
        template.tcp_sum += 1;
        all.push(template);
    }
    all
}

/// Headers and frames that end where they should not.
fn lengths(way: &Way) -> Vec<FloodTemplate> {
    let syn = || way.segment(TcpFlags::SYN, &[2, 4, 5, 180], 0);
    let offset = |words: u8| syn().with(|draft| draft.tcp()[DATA_OFFSET] = words << 4);
    let cut = |tcp_len: usize| {
        syn().with(|draft| {
            let ip_len = draft.ip().len() - OPTIONS - 4;
            draft.cut(ip_len + tcp_len);
        })
    };
    let mut drafts: Vec<Draft> = [0, 4, 7, 15].map(offset).into();
    drafts.extend([0, 3, 8, FLAGS, OPTIONS - 1, OPTIONS + 1].map(cut));
    drafts.into_iter().map(Draft::finish).collect()
}

fn ipv4(way: &Way) -> Vec<FloodTemplate> {
    let syn = || way.segment(TcpFlags::SYN, &[2, 4, 5, 180], 0);
    let changed = |at: usize, value: u8| syn().with(|draft| draft.ip()[at] = value).finish();
    let mut all = vec![
        changed(0, 0x44), // a header shorter than any
        changed(0, 0x4f), // a header longer than the packet
        changed(0, 0x65), // the other version
        changed(2, 0xff), // longer than the frame
        changed(3, 19),   // shorter than its header
        changed(6, 0x20), // a first fragment
        changed(7, 0x01), // a later one
        changed(6, 0x1f), // one that would end behind 65,535
        changed(9, 17),   // TCP that says it is UDP
        changed(9, 0),
    ];
    let mut wrong = syn().finish();
    wrong.ip_sum += 1;
    all.push(wrong);
    all
}

fn ipv6(way: &Way) -> Vec<FloodTemplate> {
    let syn = || way.segment(TcpFlags::SYN, &[2, 4, 5, 180], 0);
    let changed = |at: usize, value: u8| syn().with(|draft| draft.ip()[at] = value).finish();
    vec![
        changed(0, 0x45), // the other version
        changed(4, 0xff), // longer than the frame
        changed(5, 3),    // shorter than the segment
        changed(6, 0),    // options, hop by hop, where the TCP header is
        changed(6, 43),   // routing
        changed(6, 44),   // a fragment
        changed(6, 51),   // authentication
        changed(6, 59),   // nothing
        changed(6, 60),   // options for the destination
    ]
}
