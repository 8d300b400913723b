//! The words that may stand behind a field's name, and those that were meant.

use super::super::{Field, List};
use crate::{
    drops::DropReason,
    stack::NeighbourState,
    tcp::{State, WhyNotSending},
    xdp::Verdicts,
};

/// Below so much likeness, nobody meant it.
const LIKE: f64 = 0.7;

/// `a, b or c`.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// What is most like a word, for who has mistyped it.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &&str| strsim::jaro_winkler(word, name);
    let best = names.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(&best) >= LIKE).then_some(best)
}

/// States as filters name them, with what rows say.
fn states() -> impl Iterator<Item = (String, Vec<String>)> {
    let usual =
        State::ALL.into_iter().filter(|state| !matches!(state, State::Listen | State::TimeWait | State::Closed));
    let names = usual.map(|state| (state.name().to_ascii_lowercase(), vec![state.name().to_owned()]));
    let several = |name: &str, but: &'static [State]| {
        let its = State::ALL.into_iter().filter(move |state| !but.contains(state));
        (name.to_owned(), its.map(|state| state.name().to_owned()).collect())
    };
    names.chain([
        ("syn-recv".to_owned(), vec![State::SynReceived.name().to_owned()]),
        several("all", &[]),
        several("connected", &[State::Listen, State::Closed]),
        several("synchronized", &[State::Listen, State::Closed, State::SynSent]),
    ])
}

/// What rows say where a filter has this word behind the field's name.
///
/// # Errors
/// What could stand there, in a sentence.
pub(super) fn meant(list: List, field: Field, word: &str) -> Result<Vec<String>, String> {
    let lower = word.to_ascii_lowercase();
    let known: Vec<(String, Vec<String>)> = match field {
        Field::State if list == List::Connections => {
            if lower == "time-wait" {
                return Err("connections in TIME-WAIT are counted only, at the end of the list".to_owned());
            }
            states().collect()
        }
        Field::State => same(NeighbourState::ALL.iter().map(|state| state.name())),
        Field::Waits => same(WhyNotSending::ALL.iter().map(|why| why.name())),
        Field::Layer => same(["stack", "xdp"]),
        Field::Level => same(["cache", "worker", "xdp", "budget"]),
        Field::Reason => {
            let verdicts = Verdicts::default();
            let programs = verdicts.drops().map(|(name, ..)| name).collect::<Vec<_>>();
            same(DropReason::ALL.iter().map(|reason| reason.name()).chain(programs))
        }
        _ => return Ok(vec![word.to_owned()]),
    };
    if let Some((_, meant)) = known.iter().find(|(name, _)| *name == lower) {
        return Ok(meant.clone());
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    Err(match nearest(&lower, names.iter().copied()) {
        Some(near) => format!("`{near}` may be meant"),
        None if names.len() > 20 => format!("`xskip show {list}` has the names there are"),
        None => format!("{} can stand there", one_of(&names)),
    })
}

fn same<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<(String, Vec<String>)> {
    names.into_iter().map(|name| (name.to_owned(), vec![name.to_owned()])).collect()
}
