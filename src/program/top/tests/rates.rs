//! What two pictures come to.

use super::{busy, idle};
use crate::top::{
    history::History,
    picture::{Picture, Sequence},
    view::{Key, Order, Screen, View},
};
use std::time::Duration;

fn history(of: fn(u32) -> Picture, seconds: u32) -> History {
    let mut history = History::of(of(0));
    (1..=seconds).for_each(|second| history.push(of(second)));
    history
}

#[test]
fn rates_are_what_has_grown_in_the_time_that_has_passed() {
    let mut history = History::of(busy(0));
    assert!(!history.has_rates() && history.moments().len() == 0);
    history.push(busy(4));
    let rates = history.of_worker(&history.last().workers[1]);
    assert_eq!((rates.frames, rates.bits), ([122_000.0, 120_000.0], Some([112e6, 992e6])));
    assert!((rates.busy - 0.99).abs() < 1e-9 && rates.opened == 2_000.0);
    let moment = *history.moments().next_back().unwrap();
    assert_eq!((moment.received, moment.sent, moment.opened), (168e6, 1_488e6, 3_000.0));
    assert_eq!((moment.connections, moment.syns, moment.drops), (30_080.0, 1_251_500.0, 907.0));
    // Sequence numbers wrap, and half-open connections have none.
    let of = |index: usize| history.of_connection(&history.last().connections[index]);
    assert_eq!((of(0).received, of(0).sent), (Some(96_000.0), Some(10e6)));
    assert_eq!((of(5).received, of(3).retransmitted), (None, 1.0));
}

#[test]
fn a_picture_that_is_no_later_changes_nothing_and_one_that_has_begun_anew_makes_no_rates() {
    let mut history = history(busy, 3);
    let (before, moments) = (history.last().clone(), history.moments().len());
    history.push(busy(3));
    history.push(busy(2));
    assert_eq!((history.last(), history.moments().len()), (&before, moments));
    // A port that is used again: all numbers are others.
    let mut other = busy(4);
    other.connections[0].sequence = Some(Sequence::default());
    other.workers[0].frames = crate::top::Both::default();
    history.push(other);
    let last = history.last();
    assert_eq!(history.of_connection(&last.connections[0]).sent, None);
    assert_eq!(history.of_worker(&last.workers[0]).frames, [0.0, 0.0]);
}

#[test]
fn as_much_is_remembered_as_is_ever_drawn() {
    let history = history(idle, 600);
    assert_eq!(history.moments().len(), 512);
    assert_eq!(history.span(), Duration::from_secs(1));
}

#[test]
fn keys_choose() {
    let mut view = View::default();
    let mut press = |keys: &str| {
        let goes_on = keys.chars().all(|it| view.press(if it == '\t' { Key::Tab } else { Key::Character(it) }));
        (view, goes_on)
    };
    assert_eq!(press("3").0.screen, Screen::Defence);
    assert_eq!(press("\t\t").0.screen, Screen::Overview);
    assert_eq!(press("ss").0.order, Order::RoundTrip);
    assert!(press("p").0.is_paused && !press("p").0.is_paused);
    assert!(press("?").0.has_help && !press("2").0.has_help);
    assert_eq!(press("0x5"), (view, true));
    assert!(!view.press(Key::Character('q')) && !view.press(Key::Interrupt));
    view.has_help = true;
    assert!(view.press(Key::Escape) && !view.has_help);
}
