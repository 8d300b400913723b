//! What needs neither a kernel's help nor rights: what is watched, and what is said.

use super::{Answer, BackendReport, Changed, Request, checks, unused, watch::Folders};
use crate::{balancer::check::Kind, lb_file::File};
use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What is written anew is news; what is moved there, too.
    fn put(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.at("a link")).unwrap();
        fs::rename(self.at("a link"), self.at(name)).unwrap();
    }
}

/// Whether it is seen.
fn is_seen(path: &Path, change: impl FnOnce()) -> bool {
    let folders = Folders::watch(path).unwrap();
    assert!(!folders.has_news());
    change();
    let is_news = folders.has_news();
    assert!(!folders.has_news(), "it is said once");
    is_news
}

#[test]
fn a_file_is_news_when_it_is_whole_and_nothing_beside_it_is() {
    let ground = Ground::new();
    let path = ground.at("lb.toml");
    assert!(is_seen(&path, || ground.put("lb.toml", "1")), "it comes");
    assert!(is_seen(&path, || ground.put("lb.toml", "2")), "it is rewritten");
    ground.put("new", "3");
    assert!(is_seen(&path, || fs::rename(ground.at("new"), &path).unwrap()), "it is replaced");
    let mut file = None;
    assert!(!is_seen(&path, || {
        fs::remove_file(&path).unwrap();
        let half = file.insert(fs::File::create(&path).unwrap());
        half.write_all(b"half").unwrap();
    }));
    assert!(is_seen(&path, || drop(file)), "it is closed");
    assert!(!is_seen(&path, || ground.put("lb.toml.swp", "")));
    assert!(!is_seen(&path, || fs::remove_file(&path).unwrap()), "it is gone, and somebody will put another one there");
}

#[test]
fn links_and_folders_on_the_way_are_watched_as_well() {
    let ground = Ground::new();
    ground.put("one/lb.toml", "1");
    ground.put("two/lb.toml", "2");
    ground.link("now", "one");
    ground.link("lb.toml", "now/lb.toml");
    let path = ground.at("lb.toml");
    assert!(is_seen(&path, || ground.put("one/lb.toml", "3")), "where it really is");
    assert!(!is_seen(&path, || ground.put("two/lb.toml", "4")), "where it is not");
    assert!(is_seen(&path, || ground.link("now", "two")), "the folder is another one");
    assert!(is_seen(&path, || ground.link("lb.toml", "two/lb.toml")), "the link is another one");
    let path = ground.at("now/../now/lb.toml");
    assert!(is_seen(&path, || ground.link("now", "one")));
    // A folder that is taken away and put back.
    let path = ground.at("one/lb.toml");
    fs::rename(ground.at("one"), ground.at("away")).unwrap();
    assert!(is_seen(&path, || fs::rename(ground.at("away"), ground.at("one")).unwrap()));
    // Links that lead in a circle lead nowhere, and are no trap.
    ground.link("here", "there");
    ground.link("there", "here");
    assert!(!is_seen(&ground.at("here/lb.toml"), || ground.put("lb.toml.new", "")));
}

#[test]
fn what_is_said_by_way_of_the_socket_stays_as_it_is() {
    let said = |request: &Request| serde_json::to_string(request).unwrap();
    let backend = || "web/web-1".to_owned();
    let source = "[2001:2::2]:5000".parse().unwrap();
    let all = [
        (Request::Status {}, r#"{"command":"status"}"#),
        (
            Request::Explain { source, service: "web".into() },
            r#"{"command":"explain","source":"[2001:2::2]:5000","service":"web"}"#,
        ),
        (Request::Drain { backend: backend(), seconds: None }, r#"{"command":"drain","backend":"web/web-1"}"#),
        (
            Request::Drain { backend: backend(), seconds: Some(300) },
            r#"{"command":"drain","backend":"web/web-1","seconds":300}"#,
        ),
        (Request::Serve { backend: backend() }, r#"{"command":"serve","backend":"web/web-1"}"#),
        (Request::Weight { backend: backend(), weight: 7 }, r#"{"command":"weight","backend":"web/web-1","weight":7}"#),
        (Request::Reload {}, r#"{"command":"reload"}"#),
    ];
    for (request, text) in all {
        assert_eq!(said(&request), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
    }
    let changed = Answer::Changed(Changed { plan: "nothing changes\n".into(), ..Changed::default() });
    let text = r#"{"changed":{"plan":"nothing changes\n","notes":[]}}"#;
    assert_eq!(serde_json::to_string(&changed).unwrap(), text);
    assert_eq!(serde_json::from_str::<Answer>(text).unwrap(), changed);
}

#[test]
fn what_remains_of_a_drain_is_said_in_words() {
    let mut backend = BackendReport {
        name: "web-1".into(),
        address: "198.18.0.11:443".parse().unwrap(),
        state: "drain".into(),
        drain_seconds: Some(300),
        weight: 100,
        health: "up".into(),
        rows: 0,
        share: 0.0,
        older_rows: 12,
        remembered: 3,
        flows: 0,
        packets: 0,
        octets: 0,
        resets: 0,
        proxied: None,
        why: None,
        health_changes: 0,
        checks: None,
        checks_failed: None,
        last_check_successful: None,
        trouble: None,
    };
    assert_eq!(backend.remains(), "new flows on 0 rows, older ones on 12, and 3 that are remembered; given up in 5m");
    (backend.older_rows, backend.remembered) = (0, 0);
    assert_eq!(backend.remains(), "no flows are left there");
}

#[test]
fn what_is_said_in_vain_is_told() {
    let text = |more: &str| {
        format!(
            "interface = \"eth0\"\n{more}\n[[service]]\nname = \"web\"\naddress = \"198.18.0.80:80\"\n\
            [[service.backend]]\nname = \"b\"\naddress = \"198.18.0.11\"\n"
        )
    };
    let of = |more: &str| unused::of(&File::from_text("lb.toml", &text(more), Path::new("")).unwrap());
    assert_eq!(of(""), Vec::<String>::new());
    let said = "cookie.key is not used: no service has a `syn_proxy`, so nobody answers SYNs but backends";
    assert_eq!(of("cookie_master_file = \"cookie.key\""), [said]);
}

#[test]
fn checks_are_made_as_the_file_says() {
    let text = "interface = \"eth0\"\n[[service]]\nname = \"web\"\naddress = \"198.18.0.80:80\"\n\
        check = { kind = \"http\", path = \"/healthz\", port = 8080, interval = \"5s\", rise = 4, fall = 1 }\n\
        [[service.backend]]\nname = \"b\"\naddress = \"198.18.0.11\"\n\
        [[service]]\nname = \"dns\"\nprotocol = \"udp\"\naddress = \"198.18.0.80:53\"\n\
        [[service.backend]]\nname = \"b\"\naddress = \"198.18.0.11\"\n";
    let file = File::from_text("lb.toml", text, Path::new("")).unwrap();
    let checks: Vec<_> = checks::of(&file).collect();
    let [(service, check, Some(8080))] = &checks[..] else { panic!("{checks:?}") };
    assert_eq!((service.as_str(), check.rise, check.fall), ("web", 4, 1));
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(5), Duration::from_secs(1)));
    let Kind::Http(http) = &check.kind else { panic!("{check:?}") };
    assert_eq!((http.path.as_str(), &http.host), ("/healthz", &None));
}
