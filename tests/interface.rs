//! An interface that goes away, or changes its name, under a server. Needs root.

mod common;

use common::{
    is_root,
    served::{ADDRESS, Served},
};
use xskip_cli::lab::INTERFACE;

const HTTP: [&str; 7] = ["--address", ADDRESS, "--port", "80", "--app", "http", "--json"];

/// Does something to the network on the server's side.
#[track_caller]
fn ip(served: &Served, arguments: &[&str]) {
    let output = served.lab.server().command("ip").args(arguments).output().unwrap();
    common::served::ok(output);
}

/// The server ends by itself, as something that went wrong.
#[track_caller]
fn ends(mut served: Served, arguments: &[&str]) {
    ip(&served, arguments);
    let stopped = served.wait();
    assert_eq!(stopped.status, Some(1), "after ip {arguments:?}: {}", stopped.output);
}

#[test]
fn a_server_whose_interface_is_deleted_ends_with_an_error() {
    if is_root() {
        ends(Served::http(), &["link", "del", INTERFACE]);
        // Two workers, each of which waits for frames.
        ends(Served::new(2, &HTTP), &["link", "del", INTERFACE]);
    }
}

#[test]
fn a_server_whose_interface_is_moved_away_ends_with_an_error() {
    if is_root() {
        let served = Served::http();
        let elsewhere = std::process::id().to_string();
        ends(served, &["link", "set", INTERFACE, "netns", &elsewhere, "name", &format!("gone{elsewhere}")]);
    }
}

#[test]
fn a_server_whose_interface_is_renamed_goes_on() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    ip(&served, &["link", "set", INTERFACE, "name", "renamed0"]);
    std::thread::sleep(std::time::Duration::from_millis(600)); // twice as long as the watch looks away
    served.client_ok("curl", &["-s", "-f", "-m", "5", "http://198.18.0.1/"]);
    ip(&served, &["link", "set", "renamed0", "name", INTERFACE]);
    served.stop_balanced();
}
