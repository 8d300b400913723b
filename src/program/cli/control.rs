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
    show::{SERVER, Watched, default_path, make_folder},
};

#[derive(Clone, Debug, Default, Args)]
#[group(skip)] // its name would clash with that of the command it is flattened into
pub struct Arguments {
    /// The socket by which `xskip show` and `xskip explain` ask, for this user alone; `none` for none [default: by the name of the
    /// first interface in /run/xskip, where that can be had]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

/// A socket, from before rights are given up, or why there is none.
pub enum Prepared {
    None,
    At(Control),
    /// Nobody has asked for it, so it need not be.
    Missing(String),
}

impl Arguments {
    /// Makes the socket. One that was asked for by name has to be had.
    pub fn prepare(&self, interface: &str) -> Result<Prepared, Failure> {
        match self.control.as_deref() {
            Some(path) if path == Path::new("none") => Ok(Prepared::None),
            Some(path) => Ok(Prepared::At(Control::take(&SERVER, path)?)),
            None => Ok(by_default(&default_path(interface))),
        }
    }
}

fn by_default(path: &Path) -> Prepared {
    let control = make_folder().map_err(|error| {
        format!(
            "the folder of {} cannot be made ({error}): give a path by --control, or say `--control none`",
            path.display()
        )
    });
    match control.and_then(|()| Control::take(&SERVER, path).map_err(|error| error.to_string())) {
        Ok(control) => Prepared::At(control),
        Err(why) => Prepared::Missing(why),
    }
}

impl Prepared {
    /// Has questions answered from now on, until what is returned is dropped.
    pub fn begin(self, inspector: Inspector) -> Option<Serving> {
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
