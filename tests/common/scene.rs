//! A lab with a server of the library's at work on its server side.

use std::{net::IpAddr, process::Stdio};

use xskip_cli::{
    Server,
    lab::{INTERFACE, Lab, LabOptions, Role},
    runtime::{RunReport, Running},
};

use super::{
    Name,
    served::{ADDRESS, ok},
};

/// A lab with a server at work in it.
pub struct Scene {
    pub running: Option<Running>,
    pub lab: Lab,
    _name: Name,
}

/// A lab with nothing in it, of so many queues.
pub fn lab(queues: u32) -> (Name, Lab) {
    let name = Name::new();
    let options = LabOptions { name: name.as_str().parse().unwrap(), queues, ..LabOptions::default() };
    let lab = Lab::temporary(&options).unwrap();
    (name, lab)
}

impl Scene {
    /// A lab with nothing in it yet.
    pub fn empty(queues: u32) -> Self {
        let (name, lab) = lab(queues);
        Self { running: None, lab, _name: name }
    }

    pub fn new(queues: u32, start: impl FnOnce(Server) -> Running + Send) -> Self {
        let (name, lab) = lab(queues);
        let server = Server::on(INTERFACE).address(ADDRESS.parse().unwrap());
        let running = Some(lab.server().run(|| start(server)).unwrap());
        Self { running, lab, _name: name }
    }

    /// A server at an address that stays the kernel's.
    pub fn shared(queues: u32, address: IpAddr, start: impl FnOnce(Server) -> Running + Send) -> Self {
        let (name, lab) = lab(queues);
        let link = lab.server().link().unwrap();
        lab.server().run(|| link.add_address(address, 24)).unwrap().unwrap();
        let server = Server::on(INTERFACE).shared_address(address);
        let running = Some(lab.server().run(|| start(server)).unwrap());
        Self { running, lab, _name: name }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Whether a page comes from this port.
    pub fn get(&self, port: u16) -> bool {
        self.get_from(&format!("198.18.0.1:{port}"))
    }

    /// Whether a page comes from this host.
    pub fn get_from(&self, host: &str) -> bool {
        get(&self.lab, host)
    }

    /// Runs a shell script on a side, which must succeed, and gives back what it wrote.
    #[track_caller]
    pub fn sh(&self, role: Role, script: &str) -> String {
        let command = self.lab.side(role).command("bash").args(["-euo", "pipefail", "-c", script]);
        String::from_utf8(ok(command.output().unwrap())).unwrap()
    }

    /// Ends the server: all has gone well, and no frame is lost.
    #[track_caller]
    pub fn stop(&mut self) -> RunReport {
        let report = self.running.take().unwrap().stop().unwrap();
        let mut ports = report.workers.iter().flat_map(|worker| &worker.ports);
        assert!(ports.all(|port| port.frames.is_balanced()), "{report:?}");
        report
    }
}

/// Whether the client of a lab gets a page from this host.
pub fn get(lab: &Lab, host: &str) -> bool {
    let url = format!("http://{host}/bytes/10000");
    let curl = lab.client().command("curl").args(["-s", "-f", "-m", "5", "-o", "/dev/null", &url]);
    curl.with(|command| command.stdin(Stdio::null())).status().unwrap().success()
}
