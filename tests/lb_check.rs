//! A configuration of the load balancer, looked at before it is served. Only what is held against a host needs root.

mod common;

use common::{Name, is_root, run, run_failing, run_ok};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};
use tempfile::TempDir;
use xskip_cli::lab::{INTERFACE, Lab, LabOptions};

const GOOD: &str = r#"interface = "veth0"
generation = 7

[[service]]
name = "web"
address = "198.18.0.80:443"

[[service.backend]]
name = "web-1"
address = "198.18.0.11"

[[service.backend]]
name = "web-2"
address = "198.18.0.12"
state = "drain"
"#;

/// A folder with a configuration in it.
fn configured(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lb.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn what_would_be_served_is_said_and_nothing_is_made() {
    let (folder, path) = configured(GOOD);
    let path = path.to_str().unwrap();
    let expected = "1 service on veth0, generation 7\n\
        web  tcp 198.18.0.80:443  dsr, maglev, 65537 rows, check tcp, 2 backends\n  \
        web-1  198.18.0.11:443  serve  weight   100  100.00 %\n  \
        web-2  198.18.0.12:443  drain  weight   100    0.00 %\n";
    assert_eq!(run_ok(&["lb", "check", "--elsewhere", "--config", path]), expected);
    let json = run_ok(&["lb", "check", "--elsewhere", "--json", "--config", path]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["generation"], &json["services"][0]["backends"][0]["rows"]), (&7.into(), &65_537.into()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn everything_that_is_wrong_is_said_as_compilers_say_it() {
    let (_folder, path) =
        configured(&GOOD.replace("address = \"198.18.0.80", "adress = \"198.18.0.80").replace("drain", "down"));
    let path = path.to_str().unwrap();
    let expected = format!(
        "{path}:6:1: unknown key `adress` in [[service]]; did you mean `address`?\n    \
        adress = \"198.18.0.80:443\"\n    ^^^^^^\n\
        {path}:15:9: `down` is no `state`: write \"serve\", \"drain\" or \"off\"\n    \
        state = \"down\"\n            ^^^^^^\n"
    );
    for more in [&[][..], &["--json"], &["--elsewhere"]] {
        let output = run(&[&["lb", "check", "--config", path], more].concat());
        assert_eq!((output.status.code(), &*String::from_utf8(output.stderr).unwrap()), (Some(1), &*expected));
        assert!(output.stdout.is_empty());
    }
    let said = run_failing(1, &["lb", "check", "--config", "/nowhere/lb.toml"]);
    assert_eq!(said, "/nowhere/lb.toml: it cannot be read: No such file or directory (os error 2)\n");
    run_failing(2, &["lb", "check"]);
    run_failing(2, &["lb"]);
}

#[test]
fn a_key_that_is_there_is_looked_at_and_one_that_is_not_is_told_of() {
    let (folder, path) = configured(&GOOD.replace("veth0", "lo"));
    let check = ["lb", "check", "--config", path.to_str().unwrap()];
    let key = folder.path().join("row.key");
    let output = run(&check);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "will be made at first start; until then shares are those of a key of chance\n";
    assert_eq!(said, format!("xskip: {} {expected}", key.display()));
    assert!(!key.exists());

    fs::write(&key, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = run_failing(1, &check);
    assert!(said.starts_with("xskip: no row key: others may read") && said.contains("chmod 600"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let output = run(&check);
    assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""));

    fs::write(&path, format!("cookie_master_file = \"cookie.key\"\n{}", GOOD.replace("veth0", "lo"))).unwrap();
    let said = run_failing(1, &check);
    assert!(said.starts_with("xskip: no secret for cookies: ") && said.contains("there is no such file"), "{said}");
}

#[test]
fn a_file_is_held_against_the_machine_that_it_is_for() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    let check = |text: &str| {
        let (_folder, path) = configured(text);
        let command = lab.server().command(env!("CARGO_BIN_EXE_xskip"));
        let output = command.args(["lb", "check", "--config"]).args([&path]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap().replace(path.to_str().unwrap(), "lb.toml"))
    };
    assert_eq!(check(GOOD).0, Some(0));
    let (status, said) = check(&GOOD.replace("198.18.0.80", "198.18.0.254"));
    assert_eq!(status, Some(1));
    let expected = format!(
        "lb.toml:6:11: the kernel has 198.18.0.254 and would answer for the service: run `ip address del \
        198.18.0.254/24 dev {INTERFACE}`, or give another\n"
    );
    assert!(said.starts_with(&expected), "{said}");
    let (status, said) = check(&GOOD.replace("198.18.0.11", "198.18.0.254").replace("veth0", "eth7"));
    assert_eq!(status, Some(1));
    assert!(
        said.contains("lb.toml:1:13: there is no interface `eth7` here, only lo, veth0: name one of these"),
        "{said}"
    );
    assert!(
        said.contains("lb.toml:10:11: 198.18.0.254 is this host's own, on veth0, and packets would come"),
        "{said}"
    );
}
