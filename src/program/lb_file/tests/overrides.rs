//! What is said by hand, and for how long.

use super::{GOOD, changed, good};
use crate::{
    lb::{self, Backend, Health, RowKey, State},
    lb_file::{BackendName, File, Moment, Overrides, Placements},
    rng::SipKey,
    time::Instant,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

fn name(text: &str) -> BackendName {
    text.parse().unwrap()
}

/// So many seconds after 1970, as seen from a balancer that has run for a thousand seconds.
fn at(seconds: u64) -> Moment {
    Moment { now: Instant::from_millis(1_000_000), calendar: calendar(seconds) }
}

fn calendar(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The backends of the good file's service, as they are served.
fn served(file: &File, overrides: &Overrides, at: Moment) -> Vec<Backend> {
    let placements = Placements::new(&RowKey::new(SipKey::from_seed(1)));
    let mut services: Vec<lb::Service> = file.services(&placements);
    overrides.apply(&mut services, at);
    services.remove(0).backends
}

fn states(file: &File, overrides: &Overrides, at: Moment) -> Vec<(State, u32)> {
    served(file, overrides, at).iter().map(|backend| (backend.state, backend.weight)).collect()
}

/// What is kept, after a restart.
fn restarted(overrides: &Overrides) -> Overrides {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    overrides.save(&path).unwrap();
    Overrides::load(&path).unwrap()
}

const FOR_EVER: State = State::Drain { until: Instant::NEVER };

#[test]
fn a_drain_outlives_reload_and_restart_and_ends_by_hand() {
    let file = good(GOOD);
    let mut overrides = Overrides::new();
    overrides.drain(&file, &name("web/web-1"), None).unwrap();
    overrides.weigh(&file, &name("web/web-2"), 7).unwrap();
    let expected = [(FOR_EVER, 100), (State::Serve, 7)];
    assert_eq!(states(&file, &overrides, at(1_000)), expected);

    let mut overrides = restarted(&overrides);
    // Another file, in which something else is new.
    let file = good(&changed("mode = \"dsr\"", "mode = \"gue\""));
    assert_eq!(overrides.review(&file), Vec::<String>::new());
    assert_eq!(states(&file, &overrides, at(2_000)), expected);

    overrides.serve(&file, &name("web/web-1")).unwrap();
    overrides.weigh(&file, &name("web/web-2"), 50).unwrap();
    assert_eq!(states(&file, &overrides, at(2_000)), [(State::Serve, 100), (State::Serve, 50)]);
    assert!(overrides.is_empty(), "what the file says need not be kept");
}

#[test]
fn a_deadline_is_kept_by_the_calendar() {
    let file = good(GOOD);
    let mut overrides = Overrides::new();
    overrides.drain(&file, &name("web/web-1"), Some(calendar(5_000) - Duration::from_nanos(1))).unwrap();
    let overrides = restarted(&overrides);
    let until = |at| match states(&file, &overrides, at)[0].0 {
        State::Drain { until } => until,
        other => panic!("{other:?}"),
    };
    assert_eq!(until(at(4_000)), Instant::from_millis(2_000_000));
    assert_eq!(until(at(4_999)), Instant::from_millis(1_001_000));
    assert_eq!(until(at(5_000)), at(5_000).now, "over");
    assert_eq!(until(at(9_000)), at(9_000).now, "over for long, and still no new flows");
}

#[test]
fn the_newest_word_counts() {
    let mut overrides = Overrides::new();
    let file = good(GOOD);
    overrides.drain(&file, &name("web/web-2"), None).unwrap();
    overrides.weigh(&file, &name("web/web-2"), 7).unwrap();
    let file = good(&changed("weight = 50", "weight = 60"));
    assert_eq!(
        overrides.review(&file),
        ["web/web-2: the file says weight 60 now, which is newer than what was said by hand, 7"]
    );
    assert_eq!(states(&file, &overrides, at(0)), [(State::Serve, 100), (FOR_EVER, 60)]);
    let file = good(&changed("weight = 50", "state = \"off\""));
    assert_eq!(
        overrides.review(&file),
        ["web/web-2: the file says \"off\" now, which is newer than what was said by hand, drain"]
    );
    assert_eq!(states(&file, &overrides, at(0))[1], (State::Off, 100));
    assert!(overrides.is_empty());

    // And by hand against the file.
    overrides.serve(&file, &name("web/web-2")).unwrap();
    assert_eq!(overrides.review(&file), Vec::<String>::new());
    assert_eq!(states(&file, &overrides, at(0))[1], (State::Serve, 100));
    let file = good(&changed("weight = 50", "state = \"drain\""));
    overrides.review(&file);
    assert_eq!(states(&file, &overrides, at(0))[1], (FOR_EVER, 100));
    overrides.drain(&file, &name("web/web-2"), None).unwrap();
    assert!(overrides.is_empty(), "the file says that already");
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut overrides = Overrides::new();
    let file = good(GOOD);
    overrides.drain(&file, &name("web/web-1"), None).unwrap();
    overrides.learn(&name("web/web-2"), Health::Down);
    let renamed = good(&GOOD.replace("web-1", "web-9").replace("web-2", "web-8"));
    assert_eq!(overrides.review(&renamed), ["web/web-1 has gone, and what was said of it is forgotten"]);
    assert!(overrides.is_empty());
    assert_eq!(states(&file, &overrides, at(0))[0].0, State::Serve, "and who comes back begins anew");
}

#[test]
fn health_is_known_again() {
    let mut overrides = Overrides::new();
    overrides.learn(&name("web/web-1"), Health::Up);
    overrides.learn(&name("web/web-2"), Health::Down);
    overrides.learn(&name("web/web-2"), Health::Down);
    let mut overrides = restarted(&overrides);
    let known: Vec<_> = overrides.health().collect();
    assert_eq!(known, [(name("web/web-1"), Health::Up), (name("web/web-2"), Health::Down)]);
    assert_eq!(states(&good(GOOD), &overrides, at(0)), [(State::Serve, 100), (State::Serve, 50)]);
    overrides.learn(&name("web/web-1"), Health::Unknown);
    overrides.learn(&name("web/web-2"), Health::Unknown);
    assert!(overrides.is_empty());
}

#[test]
fn names_that_are_none_or_nobodys() {
    for text in ["web", "", "/", "web/", "/web-1", "web/web/1"] {
        let said = text.parse::<BackendName>().unwrap_err();
        assert_eq!(said, format!("`{text}` names no backend: write SERVICE/BACKEND, such as web/web-1"));
    }
    assert_eq!(name("web/web-1").to_string(), "web/web-1");
    let file = good(GOOD);
    let mut overrides = Overrides::new();
    for (text, expected) in [
        ("wbe/web-1", "there is no service `wbe`; did you mean `web`?"),
        ("mail/web-1", "there is no service `mail`: `xskip lb status` lists those there are"),
        ("web/web-3", "service `web` has no backend `web-3`; did you mean `web-1`?"),
        ("web/x", "service `web` has no backend `x`: `xskip lb status` lists those there are"),
    ] {
        assert_eq!(overrides.drain(&file, &name(text), None).unwrap_err().to_string(), expected);
        assert_eq!(overrides.serve(&file, &name(text)).unwrap_err().to_string(), expected);
        assert_eq!(overrides.weigh(&file, &name(text), 1).unwrap_err().to_string(), expected);
    }
    assert!(overrides.is_empty());
}

#[test]
fn the_file_is_whole_and_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = Overrides::path(&folder.path().join("xskip-lb.sock"));
    assert_eq!(path, folder.path().join("xskip-lb.sock.state"));
    assert_eq!(Overrides::load(&path).unwrap(), Overrides::new());
    let file = good(GOOD);
    let mut overrides = Overrides::new();
    for weight in [1, 2] {
        overrides.weigh(&file, &name("web/web-1"), weight).unwrap();
        overrides.drain(&file, &name("web/web-2"), Some(calendar(1_800_000_000))).unwrap();
        overrides.save(&path).unwrap();
        assert_eq!(Overrides::load(&path).unwrap(), overrides);
    }
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    // Files of earlier versions are read by later ones.
    let compact = fs::read_to_string(&path).unwrap().split_whitespace().collect::<String>();
    let expected = r#"{"version":1,"services":{"web":{"web-1":{"weight":{"said":2,"over":100}},"#.to_owned()
        + r#""web-2":{"state":{"said":"drain","until":1800000000,"over":"serve"}}}}}"#;
    assert_eq!(compact, expected);

    let said = overrides.save(&folder.path().join("nowhere/state")).unwrap_err().to_string();
    assert!(said.contains("nowhere/state cannot be written: ") && said.contains("until the process ends"), "{said}");
}

#[test]
fn what_was_not_written_by_us_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let shown = path.display();
    let load = |text: &str, mode: u32| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Overrides::load(&path).unwrap_err().to_string()
    };
    let whole = r#"{"version":1,"services":{"web":{"a":{"weight":{"said":1,"over":100}}}}}"#;
    for text in
        ["", "{", "[]", &whole[..40], &whole.replace("weight", "height"), &whole.replace(":1,\"over", ":-1,\"over")]
    {
        let said = load(text, 0o600);
        assert!(said.starts_with(&format!("{shown} is not what was written there (")), "{said}");
        assert!(said.ends_with("): remove it, and what was said by hand is forgotten"), "{said}");
    }
    let said = load(&whole.replace("\"version\":1", "\"version\":2,\"more\":[]"), 0o600);
    assert!(said.starts_with(&format!("{shown} is of another version of xskip (2, not 1): remove it")), "{said}");
    let said = load(&whole.replace("\"said\":1", "\"said\":10001"), 0o600);
    assert!(said.starts_with(&format!("{shown} gives web/a the weight 10001: remove it")), "{said}");
    let said = load(whole, 0o666);
    assert_eq!(said, format!("others may write to {shown} (mode 0666): run `chmod 600 {shown}`"));
    assert!(Overrides::load(Path::new("/dev/null/state")).unwrap_err().to_string().contains("cannot be read"));
}
