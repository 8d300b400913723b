//! `xskip demo`: the main job, narrated.

use super::{Failure, print};
use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    env,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};
use xskip_cli::{
    capture::Capture,
    demo::{self, DemoError, DemoOptions},
    worker::Tap,
};

/// What is typed behind `xskip demo`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sudo xskip demo --capture demo.pcapng && tshark -r demo.pcapng")]
pub struct Arguments {
    /// Write every frame, both ways, to a pcapng file, for Wireshark or tshark
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
}

/// Shows it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, interrupted.clone())?;
    }
    let capture = arguments.capture.map(|path| Capture::create(path, &["veth0"])).transpose()?.map(Arc::new);
    let program = env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
    let tap = capture.clone().map(|capture| capture as Arc<dyn Tap>);
    demo::run(&DemoOptions { tap, program: Some(program) }, &interrupted).map_err(|error| match error {
        DemoError::Print(error) => print::not_written(error),
        other => other.into(),
    })?;
    if let Some(capture) = capture {
        let lost = capture.finish()?.lost;
        if lost > 0 {
            print::note(format_args!(
                "{lost} frames are missing in the capture, because they came faster than they were written"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
