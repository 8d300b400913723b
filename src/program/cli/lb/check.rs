//! `xskip lb check`: a configuration, looked at before it is served. Nothing is made or changed.

use crate::cli::{Failure, print};
use clap::Args;
use std::{path::PathBuf, process::ExitCode};
use xskip_cli::{
    host::key_file,
    lb::RowKey,
    lb_file::{Faults, File, Placements, known_row_key},
    rng::SipKey,
};

/// What is typed behind `xskip lb check`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration, a file such as lb.toml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// It is for another machine: do not ask whether this one has its interfaces, addresses and keys
    #[arg(long)]
    elsewhere: bool,

    /// For a program: one object
    #[arg(long)]
    json: bool,
}

/// Looks at a file.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let read = || {
        let file = File::read(&arguments.config)?;
        if !arguments.elsewhere {
            file.check_this_host(|note| print::note(note))?;
        }
        Ok::<_, Faults>(file)
    };
    let file = match read() {
        Ok(file) => file,
        Err(faults) => {
            print::as_it_is(faults);
            return Ok(ExitCode::FAILURE);
        }
    };
    let key = if arguments.elsewhere { None } else { keys(&file)? };
    let key = match key {
        Some(key) => key,
        None => RowKey::new(SipKey::random()?),
    };
    let outline = file.outline(&Placements::new(&key));
    match arguments.json {
        true => print::result(serde_json::to_string_pretty(&outline)?)?,
        false => print::result(outline)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The row key, if there is one yet; and whether that of the cookies is good.
fn keys(file: &File) -> Result<Option<RowKey>, Failure> {
    if let Some(path) = &file.cookie_master_file {
        key_file::read(path).map_err(|error| format!("no secret for cookies: {error}"))?;
    }
    let key = known_row_key(&file.row_key_file)?;
    if key.is_none() {
        let path = file.row_key_file.display();
        print::note(format_args!("{path} will be made at first start; until then shares are those of a key of chance"));
    }
    Ok(key)
}
