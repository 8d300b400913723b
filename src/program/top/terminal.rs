//! The terminal: taken, and given back as it was, however the program ends, unless it is killed.

use super::{Key, TopError};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag,
};
use std::{
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What ends the program, by a signal.
const SIGNALS: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// A terminal in raw mode, on its other page. Dropped, or in a panic, it is as it was; who stops the program from outside (SIGTSTP, SIGSTOP;
/// Ctrl-Z does not) has it as it is.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    /// Whether a signal has come that ends the program.
    ended: Arc<AtomicBool>,
}

/// Whether standard input and output are a terminal.
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl Screen {
    /// Takes the terminal that standard input and output are.
    pub fn take() -> Result<Self, TopError> {
        // Before the terminal is another: a signal between the two would leave it so.
        let ended = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            flag::register(signal, Arc::clone(&ended))
                .map_err(|source| TopError::System { what: "a signal handler", source })?;
        }
        let terminal = ratatui::try_init().map_err(|error| {
            // Some of it may have been done.
            ratatui::try_restore().ok();
            TopError::Terminal(error)
        })?;
        Ok(Self { terminal, ended })
    }

    /// Draws.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> Result<(), TopError> {
        self.terminal.draw(draw).map(|_| ()).map_err(TopError::Terminal)
    }

    /// Whether a signal has said that this is over.
    pub fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits no longer than `patience` for something to be typed, or for another size.
    pub fn wait(&self, patience: Duration) -> Result<Option<Typed>, TopError> {
        let there_is = match event::poll(patience) {
            Ok(there_is) => there_is,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => return Err(TopError::Terminal(error)),
        };
        if !there_is {
            return Ok(None);
        }
        Ok(match event::read().map_err(TopError::Terminal)? {
            Event::Resize(..) => Some(Typed::Resized),
            Event::Key(key) if key.kind == KeyEventKind::Press => {
                let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('c') if is_control => Some(Typed::Key(Key::Interrupt)),
                    KeyCode::Char(character) if !is_control => Some(Typed::Key(Key::Character(character))),
                    KeyCode::Tab => Some(Typed::Key(Key::Tab)),
                    KeyCode::Esc => Some(Typed::Key(Key::Escape)),
                    _ => None,
                }
            }
            _ => None,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where it has gone there is nothing to put back.
        ratatui::try_restore().ok();
    }
}

/// Something that needs another drawing.
pub(super) enum Typed {
    Key(Key),
    Resized,
}
