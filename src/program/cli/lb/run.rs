//! `xskip lb run`: the balancer itself.

use crate::cli::{
    Failure,
    list::{Core, NumberList},
    print,
};
use clap::Args;
use std::{path::PathBuf, process::ExitCode, sync::Arc};
use xskip_cli::{
    host::confinement,
    lb_run::{Options, Run, RunError},
    runtime::{StopSignal, StopSignals},
    time::span,
    xdp::Require,
};

pub const HELP: &str = "What there is to say comes line by line on standard error: each plan before it is applied, and why a file \
    was not taken.\n\n\
    The file is read anew when it is replaced or rewritten, on SIGHUP, and by `xskip lb reload`. One that is wrong is refused, and \
    all goes on as before.\n\n\
    Where the file has `metrics`, what is counted can be scraped there, in OpenMetrics or the older form of Prometheus.\n\n\
    With `survive` in the file, SIGTERM, a crash or a kill leave packets going on to backends for that long, and who is started meanwhile \
    goes on from there. Ctrl-C (SIGINT) ends it for good, and so does `xskip lb detach` behind the others.\n\n\
    Of its rights it keeps CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON and CAP_IPC_LOCK for as long as it runs, because \
    services, their addresses and the ways to backends change meanwhile, and CAP_DAC_OVERRIDE, where it has that, for files that \
    are another user's; where BPF or PERFMON is missing, CAP_SYS_ADMIN, which stands for them. All other capabilities go at the start, the workers, who hear strangers, keep none, those who answer for /metrics keep \
    CAP_BPF, nothing that is run can gain any, and there are no core dumps, which would hold the row key.\n\n\
    Example:\n  sudo xskip lb run --config lb.toml";

/// What is typed behind `xskip lb run`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration, a file such as lb.toml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Cores to pin the workers to, in turn [default: all that this process may use]
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    cores: NumberList<Core>,

    /// The least to be content with: nothing, native or zero-copy; less is an error instead of a fall-back
    #[arg(long, value_name = "WHAT", default_value_t = Require::Nothing)]
    require: Require,

    /// Do not ask on the link whether another station has a service's address
    #[arg(long)]
    no_probe: bool,
}

/// Balances until a signal comes.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let options = Options {
        config: arguments.config,
        cores: arguments.cores.iter().map(|core| core.0).collect(),
        require: arguments.require,
        probe: !arguments.no_probe,
    };
    let signals = StopSignals::catch()?;
    confinement::keep_for_balancing()?;
    let tell = |what: &dyn std::fmt::Display| what.to_string().lines().for_each(print::note);
    let run = match Run::start(options, Arc::new(tell)) {
        Ok(run) => run,
        Err(RunError::Faults(faults)) => {
            print::as_it_is(faults);
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    print::note("balancing; Ctrl-C ends it");
    let signal = run.linger(signals);
    // Whoever presses Ctrl-C means it. Else another one may follow: behind a service manager, or what went wrong.
    match run.session().survive().filter(|_| signal != Some(StopSignal::Interrupt)) {
        None => {
            run.stop()?;
            print::note("ended: the kernel has its traffic back");
        }
        Some(time) => {
            run.leave()?;
            print::note(format_args!(
                "left: packets go on to backends for {}, and then the kernel has its traffic back; start it again meanwhile, or end that \
                 by `xskip lb detach`",
                span::show(time)
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
