//! The core stands alone: a crate outside of this repository builds it without a build script, without clang and without more than
//! a handful of dependencies.

use std::{env, fs, path::Path, process::Command};

#[path = "../src/core/examples/health.rs"]
mod health;
#[path = "../src/core/examples/pair.rs"]
mod pair;
#[path = "../src/core/examples/placement.rs"]
mod placement;

/// The core's direct dependencies. Whoever adds one gives each embedder one more: is it worth that?
const DEPENDENCIES: &[&str] = &["bitflags", "getrandom", "siphasher", "thiserror", "zerocopy"];

/// What cargo says to this, run in a crate's folder.
fn cargo(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(folder)
        .args(arguments)
        .arg("--offline") // what is needed was there to build this test
        .env_remove("RUSTFLAGS")
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .expect("cargo runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The names of the crates that cargo lists so.
fn names(listed: &str) -> Vec<&str> {
    let mut names: Vec<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn its_embedder_has_it_do_something() {
    pair::main();
}

#[test]
fn a_balancer_of_ones_own_placement_follows_it() {
    placement::main();
}

#[test]
fn a_balancer_hears_of_health_from_ones_own_source() {
    health::main();
}

#[test]
fn a_crate_outside_builds_it_with_few_dependencies_and_no_build_script() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = env::temp_dir().join(format!("xskip-core-alone-{}", std::process::id()));
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"alone\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nxskip-core = {{ path = {core:?} }}\n\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(core.join("../../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    fs::copy(core.join("examples/pair.rs"), folder.join("src/main.rs")).unwrap();

    let tree = |depth| {
        cargo(&folder, &["tree", "-p", "xskip-core", "-e", "normal,build", "--prefix", "none", "--depth", depth])
    };
    let (direct, all) = (tree("1").unwrap(), tree("9").unwrap());
    let built = cargo(&folder, &["check", "--quiet"]);
    fs::remove_dir_all(&folder).unwrap();

    assert_eq!(names(&direct).into_iter().filter(|name| *name != "xskip-core").collect::<Vec<_>>(), DEPENDENCIES);
    assert!(names(&all).len() <= 20, "{all}");
    assert!(!core.join("build.rs").exists());
    built.unwrap();
}

#[test]
fn nothing_in_it_names_the_operating_system() {
    fn collect(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let forbidden =
                    ["libc::", "std::os::", "std::fs", "std::thread", "std::process", "UdpSocket", "TcpStream"];
                let named = forbidden.iter().filter(|name| text.contains(**name));
                found.extend(named.map(|name| format!("{} names {name}", path.display())));
            }
        }
    }
    let mut found = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
    assert!(found.is_empty(), "{found:#?}");
}
