//! What happened to a connection, in sentences: who closed it and why, and what was in its way.

use super::{Beginning, Cause, Happening, History};
use crate::{
    drops::DropReason,
    tcp::{CloseReason, State, TcpInfo, WhyNotSending},
};

/// What a history says, in sentences, the end first; `info` and `waits_for` are about a connection that goes on.
pub fn explain(history: &History, info: Option<&TcpInfo>, waits_for: Option<WhyNotSending>) -> Vec<String> {
    let mut said = vec![began(history)];
    match &history.ending {
        Some(ending) => said.push(ended(ending.reason, ending.cause)),
        None => said.extend(info.map(|info| format!("It is in state {}.", info.state))),
    }
    said.extend(waits_for.map(|why| format!("It sends nothing more for now. It waits: {}", lower(why.meaning()))));
    if history.missed > 0 {
        said.push(format!("Of {} earlier events nothing is known.", history.missed));
    }
    said.extend(sending(history));
    said.extend(receiving(history));
    said.extend(refused(history));
    said.extend(
        info.filter(|info| info.retransmitted > 0)
            .map(|info| format!("Segments sent again in all: {}.", info.retransmitted)),
    );
    said
}

fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn began(history: &History) -> String {
    let (local, remote) = (history.tuple.local, history.tuple.remote);
    match history.began {
        Beginning::Accepted => format!("The peer {remote} opened it to {local}."),
        Beginning::Opened => format!("We opened it from {local} to {remote}."),
        Beginning::Woken => format!("Between {local} and {remote}. It has slept, and what was before is forgotten."),
    }
}

fn ended(reason: CloseReason, cause: Cause) -> String {
    format!("It ended: {reason}. {}", cause.meaning())
}

/// Octets, or times, of events that `of` picks.
fn sum(history: &History, of: impl Fn(Happening) -> Option<u32>) -> u64 {
    history.events.iter().filter_map(|&(_, happening)| of(happening)).map(u64::from).sum()
}

fn count(history: &History, is: impl Fn(Happening) -> bool) -> u64 {
    sum(history, |happening| is(happening).then_some(1))
}

/// How often that is, in words.
fn often(times: u64) -> String {
    if times == 1 { "once".to_owned() } else { format!("{times} times") }
}

/// A sentence where there is something to count.
fn where_any(count: u64, sentence: impl FnOnce(u64) -> String) -> Option<String> {
    (count > 0).then(|| sentence(count))
}

fn last(history: &History, is: impl Fn(Happening) -> bool) -> Option<usize> {
    history.events.iter().rposition(|&(_, happening)| is(happening))
}

/// What befell the data that we sent.
fn sending(history: &History) -> Vec<String> {
    use Happening as H;
    let is_timeout = |happening| matches!(happening, H::Timeout(..));
    let is_shut = |happening| matches!(happening, H::WindowShut(_));
    let opened = last(history, |happening| matches!(happening, H::WindowOpened(_)));
    let stays_shut = last(history, is_shut).is_some_and(|at| opened.is_none_or(|opened| opened < at));
    let shut = count(history, is_shut);
    let window = match (shut, stays_shut) {
        (0, _) => None,
        (_, true) => {
            Some("The peer's window is shut, so it does not read what we send: it holds data back.".to_owned())
        }
        (times, _) => Some(format!("The peer's window was shut {}: it read too slowly.", often(times))),
    };
    let rack = sum(history, |happening| match happening {
        H::AgainByRack(octets) | H::AgainByDuplicates(octets) => Some(octets),
        _ => None,
    });
    [
        where_any(count(history, |happening| happening == H::NeighbourUnknown), |_| {
            "The next hop's link address was not known when it began.".to_owned()
        }),
        where_any(count(history, |happening| matches!(happening, H::SynAgain(_))), |times| {
            format!("The SYN drew no answer in time, {}.", often(times))
        }),
        window,
        where_any(count(history, is_timeout), |times| {
            format!("The retransmission timeout expired {}: nothing was acknowledged for that long.", often(times))
        }),
        where_any(rack, |octets| format!("{octets} octets were lost on the way and sent again.")),
        where_any(count(history, |happening| matches!(happening, H::AgainByTailProbe(_))), |times| {
            format!("The end of what was sent was probed for {}, for want of an acknowledgment.", often(times))
        }),
        where_any(count(history, |happening| happening == H::NothingWasLost), |times| {
            format!("Nothing had been lost after all, {}: segments were reordered or late on the way.", often(times))
        }),
        where_any(count(history, |happening| matches!(happening, H::RoundTripJumped(_))), |times| {
            format!("A round trip took far longer than those before, {}.", often(times))
        }),
        where_any(count(history, |happening| happening == H::Slowed), |_| {
            "Routers on the way there marked congestion (ECN), and we slowed down.".to_owned()
        }),
        where_any(sum(history, |happening| if let H::Smaller(mss) = happening { Some(mss) } else { None }), |_| {
            "The path took no packets as large as ours (ICMP), so segments were made smaller.".to_owned()
        }),
        where_any(count(history, |happening| matches!(happening, H::KeepAliveProbe(_))), |times| {
            format!("An idle peer was asked {} whether it is there (keep-alive).", often(times))
        }),
        where_any(count(history, |happening| happening == H::NeighbourMoved), |times| {
            format!("The next hop's link address changed {}.", often(times))
        }),
    ]
    .into_iter()
    .flatten()
    .chain(soft_errors(history))
    .collect()
}

fn soft_errors(history: &History) -> impl Iterator<Item = String> + '_ {
    let errors = history.events.iter().map(|&(_, happening)| happening);
    let mut seen = Vec::new();
    errors.filter(|happening| matches!(happening, Happening::SoftError(_))).filter_map(move |happening| {
        let is_new = !seen.contains(&happening);
        seen.push(happening);
        is_new.then(|| format!("Reported on the way: {happening}."))
    })
}

/// What befell the data that came, and who read them.
fn receiving(history: &History) -> Vec<String> {
    use Happening as H;
    let shut = last(history, |happening| matches!(happening, H::OursShut(_)));
    let opened = last(history, |happening| happening == H::OursOpened);
    let ours = shut.map(|at| match opened.is_none_or(|opened| opened < at) {
        true => "Our application does not read: our window is shut, and the peer cannot send.".to_owned(),
        false => "Our application read too slowly: our window was shut for a while.".to_owned(),
    });
    let is_closed = |state| last(history, |happening| happening == H::State(state));
    let first = match (is_closed(State::CloseWait), is_closed(State::FinWait1)) {
        (Some(_), _) => Some("The peer closed its side first (FIN).".to_owned()),
        (_, Some(_)) => Some("Our side closed first (FIN).".to_owned()),
        _ => None,
    };
    [
        first,
        ours,
        where_any(count(history, |happening| happening == H::OutOfOrder), |_| {
            "Data came out of order: segments on the way here were lost or reordered.".to_owned()
        }),
        where_any(count(history, |happening| happening == H::Marked), |_| {
            "Routers on the way here marked congestion (ECN).".to_owned()
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Which segments were refused, each reason once.
fn refused(history: &History) -> Vec<String> {
    let mut reasons: Vec<DropReason> = Vec::new();
    for &(_, happening) in &history.events {
        if let Happening::Refused(reason) = happening
            && !reasons.contains(&reason)
        {
            reasons.push(reason);
        }
    }
    let sentence = |reason: DropReason| format!("Segments were refused ({}): {}", reason.name(), reason.meaning());
    reasons.into_iter().map(sentence).collect()
}
