//! `xskip top`: a server, live on a terminal.

use super::{Failure, bad_use, print, show::Where};
use clap::{Args, ValueEnum};
use std::{path::PathBuf, process::ExitCode, time::Duration};
use xskip_cli::{
    control::{AskError, Asked},
    show::{self, INTERVALS, Piece, Request, Watch},
    top::{self, Picture, TopError, View},
};

/// Columns and rows of one screen as text.
const SIZE: (u16, u16) = (80, 24);

/// What is typed behind `xskip top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Keys: q ends, p stands still, tab or 1 to 4 turn to another screen, s sorts otherwise, ? explains.\n\n\
    Examples:\n  \
    sudo xskip top\n  \
    sudo xskip top --once --screen drops"
)]
pub struct Top {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,

    /// Print one screen as text, 80 columns wide, and end; it takes no terminal
    #[arg(long)]
    once: bool,

    /// The screen to begin with
    #[arg(long, value_enum, default_value_t = Screen::Overview)]
    screen: Screen,

    #[command(flatten)]
    which: Where,
}

/// The screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Screen {
    /// Traffic, workers, and connections that are worth a look
    Overview,
    /// Connections: the busiest, or those in trouble
    Connections,
    /// Listeners, handshakes and cookies
    Defence,
    /// What is refused, and why
    Drops,
}

impl From<Screen> for top::Screen {
    fn from(screen: Screen) -> Self {
        match screen {
            Screen::Overview => Self::Overview,
            Screen::Connections => Self::Connections,
            Screen::Defence => Self::Defence,
            Screen::Drops => Self::Drops,
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.filter(|span| INTERVALS.contains(span)).ok_or_else(|| {
        let (least, most) = (INTERVALS.start().as_secs_f64(), INTERVALS.end().as_secs_f64());
        format!("{text:?} is no time between two looks: write seconds, such as 1 or 0.5, {least} to {most}")
    })
}

/// Pictures, as the server sends them.
struct Pictures {
    path: PathBuf,
    pieces: Asked<Piece>,
}

impl Pictures {
    fn begin(path: PathBuf, interval: Duration) -> Result<Self, AskError> {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let pieces = show::ask(&path, &Request::Watch(Watch { interval_ms }))?;
        Ok(Self { path, pieces })
    }

    fn next(&mut self) -> Result<Picture, String> {
        let path = self.path.display();
        match self.pieces.next() {
            Some(Ok(Piece::Picture(picture))) => Ok(*picture),
            Some(Ok(_)) => Err(format!("what answers at {path} sends no pictures: start it anew, in this version")),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("the server at {path} has ended: start one by `xskip serve`, then `xskip top` again")),
        }
    }
}

/// Shows a server.
pub fn run(arguments: Top) -> Result<ExitCode, Failure> {
    let Top { interval, once, screen, which } = arguments;
    let view = View { screen: screen.into(), ..View::default() };
    if !once && !top::has_terminal() {
        return Ok(bad_use(TopError::NoTerminal));
    }
    let mut pictures = Pictures::begin(which.path()?, interval)?;
    let look = move || pictures.next();
    if once {
        print::result(top::once(&view, interval, SIZE, look)?)?;
    } else {
        top::watch(view, interval, look)?;
    }
    Ok(ExitCode::SUCCESS)
}
