//! `--control`: the socket by which `xskip show` asks what serves and what loads.

use super::{Failure, print};
use clap::Args;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use xskip_cli::{
    control::{Control, Serving},
    runtime::Inspector,
    show::{SERVER, Unhappy, UnhappyFile, Watched, default_path, make_folder},
};

#[derive(Clone, Debug, Default, Args)]
#[group(skip)] // its name would clash with that of the command it is flattened into
pub struct Arguments {
    /// The socket by which `xskip show` and `xskip explain` ask, for this user alone; `none` for none [default: of a server, by
    /// the name of its first interface in /run/xskip, where that can be had; of a load, none]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// Write connections that end unhappily to a file, behind what is there: a line of JSON each, with its history; 100 a second and
    /// 64 MiB at most
    #[arg(long, value_name = "FILE")]
    unhappy: Option<PathBuf>,
}

/// What was opened before rights are given up.
pub struct Prepared {
    socket: Socket,
    unhappy: Option<UnhappyFile>,
}

/// Those who tell, until this is dropped.
pub struct Attended {
    _serving: Option<Serving>,
    _unhappy: Option<Unhappy>,
}

/// A socket, or why there is none.
enum Socket {
    None,
    At(Control),
    /// Nobody has asked for it, so it need not be.
    Missing(String),
}

impl Arguments {
    /// Opens the file, and makes the socket. One that was asked for by name has to be had; another one is tried by the name of an interface.
    pub fn prepare(&self, interface: Option<&str>) -> Result<Prepared, Failure> {
        let unhappy = self.unhappy.as_deref().map(UnhappyFile::open).transpose()?;
        let socket = match self.control.as_deref() {
            Some(path) if path == Path::new("none") => Socket::None,
            Some(path) => Socket::At(Control::take(&SERVER, path)?),
            None => interface.map_or(Socket::None, |interface| by_default(&default_path(interface))),
        };
        Ok(Prepared { socket, unhappy })
    }
}

fn by_default(path: &Path) -> Socket {
    let control = make_folder().map_err(|error| {
        format!(
            "the folder of {} cannot be made ({error}): give a path by --control, or say `--control none`",
            path.display()
        )
    });
    match control.and_then(|()| Control::take(&SERVER, path).map_err(|error| error.to_string())) {
        Ok(control) => Socket::At(control),
        Err(why) => Socket::Missing(why),
    }
}

impl Prepared {
    /// Has questions answered, and ends written down, from now on until what is returned is dropped.
    pub fn begin(self, inspector: Inspector) -> Attended {
        let unhappy = self.unhappy.and_then(|file| {
            file.begin(inspector.clone())
                .inspect_err(|error| {
                    print::note(format_args!("unhappy ends are not written down, for want of a thread: {error}"))
                })
                .ok()
        });
        Attended { _serving: self.socket.begin(inspector), _unhappy: unhappy }
    }
}

impl Socket {
    fn begin(self, inspector: Inspector) -> Option<Serving> {
        let control = match self {
            Self::None => return None,
            Self::At(control) => control,
            Self::Missing(why) => {
                print::note(format_args!("`xskip show` cannot ask here: {why}"));
                return None;
            }
        };
        match Serving::start(control, Arc::new(Watched::new(inspector))) {
            Ok(serving) => Some(serving),
            Err(error) => {
                print::note(format_args!("`xskip show` cannot ask here, as there is no thread to answer: {error}"));
                None
            }
        }
    }
}
