//! What the XDP program sends arrives only where the other end of a veth takes it: a container's does not, unless somebody sees to
//! it. Clients get in all the same. Needs root.

mod common;

use common::{
    Name, is_root,
    served::{ADDRESS, ADDRESS_V6, Served},
};
use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};
use xskip_cli::{
    Server,
    app::Http,
    host::{ethtool::Ethtool, netdev::Netdev},
    lab::{INTERFACE, Lab, LabOptions},
    runtime::{Cookies, DefenceLevel, Notice, Running},
};

/// Turns on and off what lets the client's end of the pair take frames from XDP: it is off where nobody sees to it.
fn set_gro(lab: &Lab, on: bool) {
    let link = lab.client().link().unwrap();
    let set = || Ethtool::open().unwrap().set_features(&link, [("rx-gro", on)]);
    lab.client().run(set).unwrap().unwrap();
}

fn get(lab: &Lab, url: &str) -> bool {
    let curl = lab.client().command("curl").args(["-s", "-f", "-m", "3", "-o", "/dev/null", url]);
    curl.with(|command| command.stdin(Stdio::null())).status().unwrap().success()
}

#[test]
fn clients_get_in_where_the_peer_takes_nothing_from_xdp() {
    if !is_root() {
        return;
    }
    let own = ["--address", ADDRESS, "--address", ADDRESS_V6];
    let shared = ["--shared", "198.18.0.1", "--shared", "2001:2::1"];
    for (addresses, queues) in [(own, 1), (own, 2), (shared, 1)] {
        let arguments = [&addresses[..], &["--port", "80", "--app", "http", "--cookies", "always", "--json"]].concat();
        let mut served = Served::prepared(queues, &arguments, |lab| {
            set_gro(lab, false);
            if addresses == shared {
                let link = lab.server().link().unwrap();
                let give = |address: &str, prefix| link.add_address(address.parse().unwrap(), prefix).unwrap();
                lab.server().run(|| (give("198.18.0.1", 24), give("2001:2::1", 64))).unwrap();
            }
        });
        for url in ["http://198.18.0.1/", "http://[2001:2::1]/"] {
            assert!(get(&served.lab, url), "{url} with {queues} queue(s) of {addresses:?}");
        }
        let report = served.stop_balanced();
        assert_eq!(report["verdicts"]["answered_syn"], 0, "{report:#}");
        assert_eq!(report["defence"][0]["level"], "worker", "{report:#}");
    }
}

/// A server of the library's in a lab, whose defence is up from the beginning.
fn start(lab: &Lab) -> Running {
    let server = Server::on(INTERFACE).address(ADDRESS.parse().unwrap()).port(80).cookies(Cookies::Always);
    lab.server().run(|| server.start(|| Http::new(Default::default()))).unwrap().unwrap()
}

#[track_caller]
fn wait_for(running: &Running, level: DefenceLevel) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while running.defence()[0].level != level {
        assert!(Instant::now() < deadline, "waited in vain for {level:?}: {:?}", running.defence());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_way_out_is_followed_while_it_changes_and_said() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    let running = start(&lab);
    let answered = |running: &Running| running.verdicts().unwrap().answered_syn;
    assert_eq!(running.defence()[0].level, DefenceLevel::Xdp);
    assert!(get(&lab, "http://198.18.0.1/"));
    assert_eq!(answered(&running), 1);
    set_gro(&lab, false);
    wait_for(&running, DefenceLevel::Worker);
    assert!(get(&lab, "http://198.18.0.1/"));
    assert_eq!(answered(&running), 1, "the worker answered");
    set_gro(&lab, true);
    wait_for(&running, DefenceLevel::Xdp);
    assert!(get(&lab, "http://198.18.0.1/"));
    assert_eq!(answered(&running), 2);
    let report = running.stop().unwrap();
    let said: Vec<_> = report.notices.iter().filter(|notice| !matches!(notice, Notice::Serving(_))).collect();
    let [lost, Notice::Defence { .. }, Notice::AnswersArrive { .. }, Notice::Defence { .. }] = &said[..] else {
        panic!("{said:?}")
    };
    let remedy = format!("Run `ip netns exec {} ethtool -K {INTERFACE} gro off;", name.namespace("client"));
    assert!(lost.is_warning() && lost.to_string().contains(&remedy), "{lost}");
}

#[test]
fn a_flood_does_not_shut_clients_out_where_the_peer_takes_nothing_from_xdp() {
    if !is_root() {
        return;
    }
    let mut served = Served::prepared(1, &["--address", ADDRESS, "--port", "80", "--json"], |lab| set_gro(lab, false));
    // The generator is an XDP program at the peer, which takes frames from ours for as long as it is there.
    let flood = format!(
        "{} flood --interface {INTERFACE} --target 198.18.0.1:80 --rate 200000 --duration 2",
        env!("CARGO_BIN_EXE_xskip")
    );
    served.client_sh(&flood);
    let way = |served: &Served| {
        let link = served.lab.server().link().unwrap();
        served.lab.server().run(|| Netdev::open().unwrap().unwrap().takes_redirects(&link).unwrap()).unwrap()
    };
    assert!(!way(&served), "the way has ended with the generator");
    // Within three seconds, of which the first attempt has one, until its SYN is sent again.
    assert!(get(&served.lab, "http://198.18.0.1/"));
    let report = served.stop_balanced();
    assert_eq!(report["defence"][0]["level"], "worker", "{report:#}");
    assert!(report["defence"][0]["changes"].as_u64().unwrap() >= 2, "{report:#}");
}
