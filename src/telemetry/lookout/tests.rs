use super::*;
use crate::{tcp::State, wire::InterfaceId, worker::Direction};
use std::sync::mpsc;

const ROOM: Room = Room { frames: 10, octets: 1_000 };

/// The second of a worker's interfaces.
fn second() -> InterfaceId {
    InterfaceId::at(1).unwrap()
}

fn event(frame: &[u8]) -> TapEvent<'_> {
    let at = Duration::from_nanos(frame.len() as u64);
    TapEvent { at, direction: Direction::Received, interface: second(), frame, state: Some(State::Established) }
}

/// Writes down what it is shown, when it is let.
struct Clerk {
    notes: mpsc::Sender<Note>,
    /// A word for each frame that it may deal with.
    leave: mpsc::Receiver<()>,
    progress: Arc<Progress>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Note {
    Begun,
    Frame(Vec<u8>),
    Lost(u64),
}

impl Observer for Clerk {
    type Word = &'static str;

    fn frame(&mut self, event: &TapEvent<'_>) {
        self.notes.send(Note::Begun).ok();
        // Whoever gives leave no more holds it up no more.
        self.leave.recv().ok();
        self.notes.send(Note::Frame(event.frame.to_vec())).ok();
        self.progress.settle(1);
    }

    fn lost(&mut self, _: InterfaceId, frames: u64) {
        self.notes.send(Note::Lost(frames)).ok();
    }

    fn rest(&mut self) -> Option<Duration> {
        None
    }

    fn end(&mut self) -> Self::Word {
        "that was all"
    }
}

struct Office {
    lookout: Lookout<Clerk>,
    notes: mpsc::Receiver<Note>,
    leave: mpsc::Sender<()>,
}

impl Office {
    fn new(room: Room) -> Self {
        let ((write, notes), (leave, wait)) = (mpsc::channel(), mpsc::channel());
        let progress = Arc::<Progress>::default();
        let clerk = Clerk { notes: write, leave: wait, progress: progress.clone() };
        let lookout = Lookout::post("clerk", room, progress, clerk).unwrap();
        Self { lookout, notes, leave }
    }

    /// Shows a frame, and waits until the clerk sits over it.
    fn show_and_see_it_begun(&self, frame: &[u8]) {
        self.lookout.show(&event(frame));
        assert_eq!(self.notes.recv().unwrap(), Note::Begun);
    }

    /// Lets the clerk do everything, and gives back what it has written down, and how it ended.
    fn close(self) -> (Vec<Note>, Ended<&'static str>) {
        drop(self.leave);
        let ended = self.lookout.end();
        (self.notes.try_iter().filter(|note| *note != Note::Begun).collect(), ended)
    }
}

fn frames(range: std::ops::Range<u8>) -> Vec<Note> {
    range.map(|number| Note::Frame(vec![number; 60])).collect()
}

#[test]
fn a_backlog_gives_back_what_it_was_given() {
    let mut backlog = Backlog::new(ROOM);
    assert!(backlog.is_empty());
    let given = [
        event(b"one"),
        TapEvent { direction: Direction::Transmitted, interface: InterfaceId::FIRST, state: None, ..event(b"") },
        TapEvent { at: Duration::new(1_700_000_000, 5), ..event(b"three") },
    ];
    given.iter().for_each(|event| backlog.push(event));
    assert!(!backlog.is_empty());
    let kept: Vec<_> = backlog.events().collect();
    assert_eq!(format!("{kept:?}"), format!("{given:?}"));
    backlog.clear();
    assert!(backlog.is_empty() && backlog.events().next().is_none());
}

#[test]
fn a_backlog_has_room_for_so_many_frames_and_octets_and_no_more() {
    for (length, most) in [(0, 10), (100, 10), (101, 9), (334, 2), (1_000, 1), (1_001, 0)] {
        let mut backlog = Backlog::new(ROOM);
        (0..25).for_each(|_| backlog.push(&event(&vec![0; length])));
        assert_eq!(
            (backlog.events().count(), backlog.lost().collect::<Vec<_>>()),
            (most, vec![(second(), 25 - most as u64)]),
            "of {length} octets each"
        );
    }
}

#[test]
fn what_comes_after_a_lost_frame_is_lost_too_so_that_there_is_one_gap_and_its_place_is_known() {
    let mut backlog = Backlog::new(ROOM);
    backlog.push(&event(&[0; 900]));
    backlog.push(&event(&[0; 200]));
    backlog.push(&event(&[0; 10]));
    assert_eq!((backlog.events().count(), backlog.lost().collect::<Vec<_>>()), (1, vec![(second(), 2)]));
    backlog.clear();
    backlog.push(&event(&[0; 10]));
    assert_eq!((backlog.events().count(), backlog.lost().count()), (1, 0));
}

#[test]
fn an_observer_sees_everything_in_order_and_has_the_last_word() {
    let office = Office::new(Room { frames: 100, octets: 100_000 });
    (0..50).for_each(|number| office.lookout.show(&event(&[number; 60])));
    let (notes, ended) = office.close();
    assert_eq!(notes, frames(0..50));
    assert_eq!(ended, Ended { word: Some("that was all"), frames: 50, lost: 0 });
}

#[test]
fn whoever_shows_frames_to_a_blocked_observer_goes_on_and_the_loss_is_counted_to_the_frame() {
    let office = Office::new(ROOM);
    office.show_and_see_it_begun(&[0; 60]);
    // The first one is being looked at; ten more may wait; the rest is lost, and none of these calls waits for the clerk.
    (1..=110).for_each(|number| office.lookout.show(&event(&[number; 60])));
    let (notes, ended) = office.close();
    assert_eq!(notes, [frames(0..11), vec![Note::Lost(100)]].concat());
    assert_eq!(ended, Ended { word: Some("that was all"), frames: 11, lost: 100 });
}

#[test]
fn an_observer_that_does_not_get_on_is_left_where_it_is_and_what_it_has_not_seen_to_is_lost() {
    let office = Office::new(ROOM);
    office.show_and_see_it_begun(b"blocks");
    (0..5).for_each(|_| office.lookout.show(&event(b"waits")));
    let ended = office.lookout.end();
    assert_eq!(ended, Ended { word: None, frames: 0, lost: 6 });
}

#[test]
fn an_observer_that_gets_on_is_waited_for() {
    let office = Office::new(Room { frames: 30, octets: 3_000 });
    (0..30).for_each(|number| office.lookout.show(&event(&[number; 60])));
    let leave = office.leave.clone();
    let slow = thread::spawn(move || {
        // Together longer than a standstill may last; each of them much shorter.
        for _ in 0..30 {
            thread::sleep(STALLED / 20);
            leave.send(()).unwrap();
        }
    });
    let ended = office.lookout.end();
    slow.join().unwrap();
    assert_eq!(ended, Ended { word: Some("that was all"), frames: 30, lost: 0 });
}

#[test]
fn catching_up_waits_until_all_is_seen_to() {
    let office = Office::new(ROOM);
    let (leave, notes) = (office.leave.clone(), office.notes);
    let lookout = office.lookout;
    (0..10).for_each(|number| lookout.show(&event(&[number; 60])));
    (0..10).for_each(|_| leave.send(()).unwrap());
    lookout.catch_up();
    let seen: Vec<Note> = notes.try_iter().filter(|note| *note != Note::Begun).collect();
    assert_eq!(seen, frames(0..10));
}

#[test]
fn what_comes_after_the_end_is_lost_and_waits_for_nobody() {
    let office = Office::new(ROOM);
    office.lookout.dismiss();
    (0..1_000).for_each(|_| office.lookout.show(&event(b"late")));
    let (notes, ended) = office.close();
    assert_eq!((notes, ended.frames, ended.lost), (vec![], 0, 1_000));
}

#[test]
fn a_panic_of_an_observer_is_its_own() {
    struct Clumsy;
    impl Observer for Clumsy {
        type Word = ();
        fn frame(&mut self, _: &TapEvent<'_>) {
            panic!("on purpose, in a test");
        }
        fn lost(&mut self, _: InterfaceId, _: u64) {}
        fn rest(&mut self) -> Option<Duration> {
            None
        }
        fn end(&mut self) {}
    }
    let lookout = Lookout::post("clumsy", ROOM, Arc::default(), Clumsy).unwrap();
    (0..100).for_each(|_| lookout.show(&event(b"frame")));
    assert_eq!(lookout.end(), Ended { word: None, frames: 0, lost: 100 });
}
