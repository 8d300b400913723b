//! This crate's: `xskip lb run`, and a file that is rewritten.

use super::{
    BACK, BalanceOptions, Balancing, BenchError, ContenderError, DATAGRAMS, Member, Mode, PORT, Process, SOURCE, VIP,
    Works, backend,
};
use crate::{
    lab::INTERFACE,
    lb_run::{Answer, Request, StatusReport, ask},
};
use std::{
    io,
    path::{Path, PathBuf},
};

impl Balancing<'_> {
    pub(super) fn start_xskip(&mut self, members: &[Member]) -> Result<(), BenchError> {
        let path = self.write_xskip(members)?;
        let core = format!("--cores={}", self.options.core);
        let mut words = vec!["lb".into(), "run".into(), "--config".into(), path.into_os_string(), core.into()];
        if self.options.is_flood {
            words.push("--no-probe".into());
        }
        let command = self.ground.command("balancer", self.options.program).args(words);
        let mut process = Process::start("xskip lb run", command, "balancing;")?;
        process.wait_until("begin to balance", Process::is_ready)?;
        let (control, is_flood) = (self.control(), self.options.is_flood);
        process.wait_until(
            "reach its backends",
            |_| matches!(ask(&control, &Request::Status {}), Ok(Answer::Status(status)) if reaches(&status, is_flood)),
        )?;
        self.works = Works::Process(process);
        Ok(())
    }

    pub(super) fn reload_xskip(&mut self, members: &[Member]) -> Result<(), BenchError> {
        self.write_xskip(members)?;
        match ask(&self.control(), &Request::Reload {}) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(ContenderError::system("have the balancer read its file", io::Error::other(error)).into())
            }
        }
    }

    fn write_xskip(&self, members: &[Member]) -> Result<PathBuf, BenchError> {
        let BalanceOptions { mode, is_flood, cookie_master, .. } = self.options;
        let text = configuration(self.folder.path(), mode, is_flood, cookie_master, members);
        self.write("lb.toml", &text)
    }

    /// Where this crate's is spoken to.
    pub fn control(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }
}

/// Whether all that get new flows can be reached, where they are checked are known to be well, and have SYNs answered in their names
/// where that is wanted.
fn reaches(status: &StatusReport, is_flood: bool) -> bool {
    status.services.iter().all(|service| {
        let is_checked = service.protocol == "tcp" && !is_flood;
        // What is promised in their names is known by then, too.
        let is_answered = service.syn_proxy == "off" || service.promise.is_some();
        is_answered && service.backends.iter().all(|it| it.trouble.is_none() && (!is_checked || it.health == "up"))
    })
}

/// What a mode takes beside its name, as keys of the file.
fn wanted_by(mode: Mode) -> String {
    match mode {
        Mode::Nat | Mode::Proxy => format!("{mode} = {{ sources = [\"{SOURCE}\"] }}\n"),
        _ => String::new(),
    }
}

pub(super) fn configuration(
    folder: &Path,
    mode: Mode,
    is_flood: bool,
    cookie_master: Option<&Path>,
    members: &[Member],
) -> String {
    let interfaces = if is_flood { format!("{INTERFACE:?}, {BACK:?}") } else { format!("{INTERFACE:?}") };
    let folder = folder.display();
    let mut text = format!(
        "interfaces = [{interfaces}]\ncontrol = \"{folder}/control.sock\"\nrow_key_file = \"{folder}/row.key\"\n"
    );
    text += &cookie_master.map_or(String::new(), |it| format!("cookie_master_file = {:?}\n", it.display().to_string()));
    text += &wanted_by(mode);
    let http = "{ kind = \"http\", path = \"/\", interval = \"500ms\", timeout = \"500ms\", rise = 2, fall = 2 }";
    let none = "{ kind = \"none\" }";
    for (name, port, protocol) in [("web", PORT, "tcp"), ("datagrams", DATAGRAMS, "udp")] {
        let check = if protocol == "tcp" && !is_flood { http } else { none };
        text += &format!("\n[[service]]\nname = \"{name}\"\naddress = \"{VIP}:{port}\"\nprotocol = \"{protocol}\"\n");
        // Of datagrams nobody ends connections.
        let mode = if mode == Mode::Proxy && protocol == "udp" { Mode::Dsr } else { mode };
        text += &format!("mode = \"{mode}\"\ncheck = {check}\n");
        text += if cookie_master.is_some() && protocol == "tcp" { "syn_proxy = \"always\"\n" } else { "" };
        for &Member { number, weight, drains } in members {
            let (address, state) = (backend(number), if drains { "drain" } else { "serve" });
            text += &format!("\n[[service.backend]]\nname = \"b{number}\"\naddress = \"{address}\"\n");
            text += &format!("weight = {weight}\nstate = \"{state}\"\n");
        }
    }
    text
}
