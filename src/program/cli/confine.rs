//! What `serve` and `load` give up before strangers are heard.

use clap::{Args, ValueEnum};
use xskip_cli::host::confinement::{Confinement, User};

#[derive(Clone, Debug, Args)]
#[group(skip)] // its name would clash with that of the command it is flattened into
pub struct Arguments {
    /// Go on as this user once everything is open: a name, a number, or UID:GID; takes root. What is read later, such as the file
    /// of --cookie-master, must be that user's to read
    #[arg(long, value_name = "USER")]
    user: Option<User>,

    /// What is given up once everything is open: all, rights (and no system call is refused), or nothing
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = GiveUp::All, hide_possible_values = true)]
    give_up: GiveUp,

    /// Allow core dumps, and debuggers of the same user: both see all keys
    #[arg(long)]
    dumpable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GiveUp {
    All,
    Rights,
    Nothing,
}

impl Arguments {
    /// What makes no sense together.
    pub fn contradiction(&self) -> Option<&'static str> {
        let contradicts = self.user.is_some() && self.give_up == GiveUp::Nothing;
        contradicts.then_some("--user gives rights up, and --give-up nothing forbids it: leave one of them out")
    }

    pub fn confinement(&self) -> Option<Confinement> {
        let (user, dumpable) = (self.user.clone(), self.dumpable);
        let filter = self.give_up == GiveUp::All;
        (self.give_up != GiveUp::Nothing).then_some(Confinement { user, filter, dumpable })
    }
}
