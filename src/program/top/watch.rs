//! The loop: pictures come in by a thread, keys by the terminal, and each of them draws.

use super::{
    History, Look, Picture, TopError, View, draw,
    terminal::{Screen, Typed, has_terminal},
};
use crossbeam::channel::{Receiver, TryRecvError, bounded};
use std::{thread, time::Duration};

/// How long a key or a signal may wait for its effect.
const PATIENCE: Duration = Duration::from_millis(50);

/// Shows a server on the terminal until somebody has seen enough, or until there is nothing more to see: then it says why. Pictures come
/// every `interval`, for which `look` waits.
///
/// # Errors
/// [`TopError`], with the terminal as it was.
pub fn watch(mut view: View, interval: Duration, mut look: impl Look + Send + 'static) -> Result<(), TopError> {
    if !has_terminal() {
        return Err(TopError::NoTerminal);
    }
    // Where there is nobody to be watched, that is said without a flicker.
    let first = look().map_err(TopError::NoPicture)?;
    let mut screen = Screen::take()?;
    let pictures = begin(look)?;
    show(&mut screen, &mut view, interval, History::of(first), &pictures)
}

/// Pictures, as they come; the last one may be why there are no more.
type Pictures = Receiver<Result<Picture, String>>;

/// Takes pictures on a thread of its own, which ends when nobody wants any more. It is not waited for: it may be waiting for a server.
fn begin(mut look: impl Look + Send + 'static) -> Result<Pictures, TopError> {
    // One at a time: who draws slowly gets fewer.
    let (sender, pictures) = bounded(1);
    let take = move || {
        loop {
            let picture = look();
            let is_last = picture.is_err();
            if sender.send(picture).is_err() || is_last {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("xskip-look".to_owned()).spawn(take);
    thread.map_err(|source| TopError::System { what: "a thread", source })?;
    Ok(pictures)
}

fn show(
    screen: &mut Screen,
    view: &mut View,
    interval: Duration,
    mut history: History,
    pictures: &Pictures,
) -> Result<(), TopError> {
    let mut is_drawn = false;
    while !screen.is_over() {
        match pictures.try_recv() {
            // What stands still is looked at, not what comes meanwhile.
            Ok(Ok(_)) if view.is_paused => {}
            Ok(Ok(picture)) => {
                history.push(picture);
                is_drawn = false;
            }
            Ok(Err(why)) => return Err(TopError::NoPicture(why)),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(TopError::NoPicture("nobody takes pictures any more: start `xskip top` anew".to_owned()));
            }
        }
        if !is_drawn {
            screen.draw(|frame| draw(view, &history, interval, frame))?;
            is_drawn = true;
        }
        match screen.wait(PATIENCE)? {
            Some(Typed::Key(key)) if !view.press(key) => return Ok(()),
            Some(_) => is_drawn = false,
            None => {}
        }
    }
    Ok(())
}
