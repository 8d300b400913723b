//! The list of events by itself: what it keeps, what it takes, and what becomes of it when memory is scarce.

use super::*;
use crate::tcp::{
    State,
    recorder::{Beginning, FEW, Happening, MANY, Past, Recorder},
};

const BEGIN: Instant = Instant::from_millis(5_000);

fn after(millis: u64) -> Instant {
    BEGIN + Duration::from_millis(millis)
}

/// One with so many events, the nth of which says n and happened after n seconds.
fn with(events: u32) -> Recorder {
    let mut recorder = Recorder::new(BEGIN, Beginning::Accepted);
    (0..events).for_each(|number| recorder.note(after(u64::from(number) * 1_000), Happening::WindowProbe(number)));
    recorder
}

fn numbers(recorder: &Recorder) -> Vec<u32> {
    let number =
        |happening| if let Happening::WindowProbe(number) = happening { number } else { panic!("{happening}") };
    recorder.events().map(|event| number(event.happening())).collect()
}

#[test]
fn the_latest_events_are_kept_and_a_list_is_taken_when_a_few_places_are_too_few() {
    for events in 0..200 {
        let recorder = with(events);
        let kept = events.min(MANY as u32);
        assert_eq!(numbers(&recorder), (events - kept..events).collect::<Vec<u32>>());
        assert_eq!(recorder.memory(), if events > FEW as u32 { 512 } else { 0 });
        assert_eq!(recorder.was_resized(), events > FEW as u32);
        for (event, number) in recorder.events().zip(events - kept..) {
            assert_eq!(event.after(), Duration::from_secs(number.into()));
        }
        let mut past = Past::default();
        recorder.copy_into(&mut past);
        let history = crate::tcp::History::new(tuple(), &past, None);
        assert_eq!((history.events.len(), history.missed), (kept as usize, u64::from(events - kept)));
    }
}

#[test]
fn what_is_given_back_leaves_the_latest_few() {
    for events in 0..200 {
        for more in 0..20 {
            let mut recorder = with(events);
            recorder.give_back();
            (events..events + more).for_each(|number| {
                recorder.note(after(u64::from(number) * 1_000), Happening::WindowProbe(number));
            });
            let all = events + more;
            assert_eq!(numbers(&recorder), (all.saturating_sub(FEW as u32)..all).collect::<Vec<u32>>());
            assert_eq!(recorder.memory(), 0);
        }
    }
}

#[test]
fn a_list_goes_on_to_another_connection_and_its_events_do_not() {
    let (mut old, mut new) = (with(100), Recorder::new(BEGIN, Beginning::Opened));
    new.adopt_memory(&mut old);
    assert_eq!((new.memory(), old.memory(), new.events().count()), (512, 0, 0));
    new.note(BEGIN, Happening::Marked);
    assert_eq!(new.events().map(|event| event.happening()).collect::<Vec<_>>(), [Happening::Marked]);
    new.begin(after(7), Beginning::Woken);
    assert_eq!((new.memory(), new.events().count()), (512, 0));
}

#[test]
fn what_may_come_with_every_segment_is_written_once_a_second() {
    let mut recorder = with(0);
    for millis in 0..3_500 {
        recorder.note_seldom(after(millis), Happening::Refused(DropReason::OldTimestamp));
    }
    assert_eq!(recorder.events().count(), 4);
    for millis in 4_000..4_100 {
        recorder.note_again(after(millis), Happening::AgainByRack(1_000));
    }
    assert_eq!(recorder.events().last().unwrap().happening(), Happening::AgainByRack(100_000));
    recorder.note_again(after(4_100), Happening::AgainByTimeout(1_000));
    assert_eq!(recorder.events().count(), 6);
}

#[test]
fn times_and_numbers_saturate() {
    let mut recorder = with(0);
    recorder.note(BEGIN + Duration::from_secs(100 * 24 * 3_600), Happening::WindowShut(u32::MAX));
    let event = recorder.events().next().unwrap();
    assert_eq!(event.after(), Duration::from_millis(u32::MAX.into()));
    assert_eq!(event.happening(), Happening::WindowShut((1 << 24) - 1));
}

#[test]
fn every_event_is_read_as_it_was_written_and_has_a_name_and_a_sentence_of_its_own() {
    let mut recorder = with(0);
    let mut all = vec![
        Happening::SynAgain(3),
        Happening::NeighbourUnknown,
        Happening::NeighbourMoved,
        Happening::Timeout(200, 60_000),
        Happening::AgainByTimeout(1),
        Happening::AgainByRack(2),
        Happening::AgainByDuplicates(3),
        Happening::AgainByTailProbe(4),
        Happening::NothingWasLost,
        Happening::WindowShut(5),
        Happening::WindowOpened(6),
        Happening::WindowProbe(7),
        Happening::OursShut(8),
        Happening::OursOpened,
        Happening::RoundTripJumped(9),
        Happening::OutOfOrder,
        Happening::Marked,
        Happening::Slowed,
        Happening::KeepAliveProbe(10),
        Happening::Smaller(11),
        Happening::Larger(12),
        Happening::SoftError(3),
        Happening::Unknown,
        Happening::State(State::Listen),
        Happening::Refused(DropReason::ALL[0]),
    ];
    let mut names: Vec<&str> = all.iter().map(|happening| happening.name()).collect();
    let mut sentences: Vec<String> = all.iter().map(|happening| happening.to_string()).collect();
    names.sort_unstable();
    sentences.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]) && sentences.windows(2).all(|pair| pair[0] != pair[1]));
    all.extend(DropReason::ALL.iter().map(|&reason| Happening::Refused(reason)));
    all.extend([State::SynSent, State::SynReceived, State::Established, State::FinWait1].map(Happening::State));
    all.extend([State::FinWait2, State::CloseWait, State::Closing, State::LastAck].map(Happening::State));
    all.extend([State::TimeWait, State::Closed].map(Happening::State));
    for happening in all {
        recorder.note(BEGIN, happening);
        assert_eq!(recorder.events().last().unwrap().happening(), happening);
    }
}
