//! In generic mode a frame has been a packet of the kernel's before the XDP program sees it: merged from several segments, or with
//! a checksum that nobody has finished. Both are taken. Needs root.

mod common;

use common::{Name, is_root};
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};
use xskip_cli::{
    Server,
    app::Discard,
    drops::DropReason,
    host::ethtool::Ethtool,
    lab::{INTERFACE, Lab, LabOptions},
    runtime::Cookies,
    xdp::XdpMode,
};

const OCTETS: usize = 20_000_000;

/// What has no XDP of its own, on top of the lab's interface.
const ABOVE: [(&str, &str); 2] = [
    ("bridge", "ip link add above0 type bridge && ip link set {} master above0"),
    ("macvlan", "ip link add above0 link {} type macvlan mode bridge && ip link set above0 allmulticast on"),
];

#[track_caller]
fn sh(lab: &Lab, script: &str) {
    let output = lab.server().command("bash").args(["-euc", script]).output().unwrap();
    common::served::ok(output);
}

/// Sends so much, and waits until all of it was taken.
fn upload(remote: SocketAddr) -> std::io::Result<()> {
    let patience = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&remote, patience)?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_read_timeout(Some(patience))?;
    for _ in 0..OCTETS / 50_000 {
        stream.write_all(&[b'x'; 50_000])?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    assert_eq!(stream.read(&mut [0; 1])?, 0, "nothing was sent");
    Ok(())
}

#[test]
fn an_upload_that_the_kernel_merges_is_taken_in_generic_mode() {
    if !is_root() {
        return;
    }
    for (kind, script) in ABOVE {
        let name = Name::new();
        let options = LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() };
        let lab = Lab::temporary(&options).unwrap();
        sh(&lab, &format!("{} && ip link set above0 up", script.replace("{}", INTERFACE)));
        let server = Server::on("above0").port(9).cookies(Cookies::Always);
        let server = ["198.18.0.1/24", "2001:2::1/64"]
            .iter()
            .fold(server, |server, address| server.address(address.parse().unwrap()));
        let running = lab.server().run(|| server.start(|| Discard)).unwrap().unwrap();
        assert_eq!(running.setups()[0].mode, XdpMode::Generic);
        let mut uploads = 0;
        // Whether the sender finishes its segments, as one beyond a wire does, or leaves checksums and cutting up, as one of this
        // machine.
        for unfinished in [false, true] {
            let link = lab.client().link().unwrap();
            let features = ["tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation"];
            let features = features.map(|feature| (feature, unfinished));
            let set = || Ethtool::open().unwrap().set_features(&link, features);
            lab.client().run(set).unwrap().unwrap();
            for address in ["198.18.0.1", "2001:2::1"] {
                let remote = SocketAddr::new(address.parse::<IpAddr>().unwrap(), 9);
                let uploaded = lab.client().run(|| upload(remote)).unwrap();
                assert!(uploaded.is_ok(), "{kind}, {address}, unfinished checksums: {unfinished}: {uploaded:?}");
                uploads += 1;
            }
        }
        let report = running.stop().unwrap();
        assert_eq!(report.verdicts.answered_syn, uploads, "{kind}: SYNs are answered in XDP");
        let (stats, drops) = (report.stats(), report.drops());
        let segments = uploads * OCTETS as u64 / 1_460;
        assert!(stats.frames_received < segments, "{kind}: {} frames for {segments} segments", stats.frames_received);
        for reason in [DropReason::PartialTcpChecksum, DropReason::BadTcpChecksum] {
            assert_eq!(drops.get(reason), 0, "{kind}: {drops:?}");
        }
    }
}
