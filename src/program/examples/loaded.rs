//! A server in a lab of its own, and a load on it: `cargo run -p xskip-cli --example loaded -- NAME`, as root.

use std::{error::Error, sync::atomic::AtomicBool, time::Duration};
use xskip_cli::{
    Server,
    app::Http,
    lab::{INTERFACE, Lab, LabOptions},
    load::{Load, LoadReport, Mode},
};

/// A second of sixteen connections that ask for one page after the other.
pub fn load(lab: &str) -> Result<LoadReport, Box<dyn Error>> {
    let lab = Lab::temporary(&LabOptions { name: lab.parse()?, ..LabOptions::default() })?;
    let server = Server::on(INTERFACE).address("198.18.0.1/24".parse()?).port(80);
    let running = lab.server().run(|| server.start(Http::default))??;
    let load = Load::new(INTERFACE, "198.18.0.1:80".parse()?, Mode::Keepalive).address("198.18.0.100/24".parse()?);
    let load = load.connections(16).duration(Duration::from_secs(1));
    let report = lab.client().run(|| load.run(&AtomicBool::new(false)))??;
    running.stop()?;
    Ok(report)
}

fn main() -> Result<(), Box<dyn Error>> {
    let report = load(&std::env::args().nth(1).ok_or("say what the lab is to be called")?)?;
    println!("{:.0} requests a second, {:?} µs the median", report.per_second, report.latency_us.p50);
    Ok(())
}
