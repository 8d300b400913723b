//! The decisions, in virtual time; and what is read of answers.

mod prober;

use super::{
    http::{self, Said},
    *,
};
use crate::{
    time::Instant,
    wire::{InterfaceId, MacAddress},
};
use std::collections::HashMap;

const SECOND: Duration = Duration::from_secs(1);

fn route() -> Result<Route, Obstacle> {
    let via = Via { interface: InterfaceId::FIRST, next_hop: MacAddress::default(), mtu: 1_500, tunnel: None };
    Ok(Route { source: "198.18.0.1".parse().unwrap(), ports: Arc::new([40_000]), via })
}

fn target(backend: &str) -> Target {
    Target {
        service: "web".to_owned(),
        backend: backend.to_owned(),
        check: Check { interval: 2 * SECOND, timeout: SECOND, ..Check::default() },
        address: "198.18.0.80:80".parse().unwrap(),
        route: route(),
        known: Health::Unknown,
        hand_over: None,
        counts: Arc::default(),
    }
}

/// Checks in a world in which each backend is well or not, and answers at once or never.
struct World {
    now: Instant,
    checks: Checks,
    /// What becomes of each backend's checks; [`Failure::TimedOut`] for none that ends by itself. Nothing is well.
    ails: HashMap<String, Failure>,
    /// Of each check its backend and moment.
    begun: Vec<(String, Instant)>,
    last: HashMap<String, Attempt>,
    news: Vec<(String, Health, Option<String>)>,
}

impl World {
    fn new(most: usize, targets: impl IntoIterator<Item = Target>) -> Self {
        let now = Instant::from_millis(5_000);
        let mut checks = Checks::new(7, most);
        assert!(checks.replace(now, targets).is_empty());
        Self { now, checks, ails: HashMap::new(), begun: Vec::new(), last: HashMap::new(), news: Vec::new() }
    }

    fn ail(&mut self, backend: &str, failure: Failure) {
        self.ails.insert(backend.to_owned(), failure);
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            while let Some(attempt) = self.checks.overdue(self.now) {
                self.checks.end(attempt, Err(Failure::TimedOut { after: SECOND, opened: false }));
            }
            while let Some((attempt, target)) = self.checks.begin(self.now) {
                let backend = target.backend.clone();
                let ails = self.ails.get(&backend).cloned();
                self.last.insert(backend.clone(), attempt);
                self.begun.push((backend, self.now));
                match ails {
                    Some(Failure::TimedOut { .. }) => {}
                    Some(failure) => self.checks.end(attempt, Err(failure)),
                    None => self.checks.end(attempt, Ok(())),
                }
            }
            while let Some(News { backend, health, why, .. }) = self.checks.poll_news() {
                self.news.push((backend, health, why));
            }
            let Some(next) = self.checks.poll_timeout().filter(|next| *next <= end) else { break };
            assert!(next > self.now, "time goes on");
            self.now = next;
        }
        self.now = end;
    }

    /// Whether a check of this backend is under way.
    fn is_checking(&self, backend: &str) -> bool {
        self.last.get(backend).is_some_and(|attempt| self.checks.target(*attempt).is_some())
    }

    fn news(&mut self) -> Vec<(String, Health, Option<String>)> {
        std::mem::take(&mut self.news)
    }
}

fn is(backend: &str, health: Health, why: Option<&str>) -> (String, Health, Option<String>) {
    (backend.to_owned(), health, why.map(str::to_owned))
}

fn silence() -> Failure {
    Failure::TimedOut { after: SECOND, opened: false }
}

#[test]
fn one_success_makes_the_unknown_up_and_only_as_many_failures_as_ever_make_it_down() {
    let mut world = World::new(8, [target("a"), target("b")]);
    world.ail("b", Failure::Refused);
    world.pass(2 * SECOND);
    assert_eq!(world.news(), [is("a", Health::Up, None)], "of b nothing is known yet");
    world.pass(5 * SECOND);
    assert_eq!(world.news(), [is("b", Health::Down, Some("refused"))]);
    world.pass(60 * SECOND);
    assert_eq!(world.news(), [], "nothing is said twice");
}

#[test]
fn checks_are_counted_beside_what_they_come_to() {
    let counted = target("a");
    let counts = Arc::clone(&counted.counts);
    assert_eq!(counts.read(), Counted::default());
    let mut world = World::new(8, [counted]);
    world.pass(3 * SECOND);
    let made = world.begun.len() as u64;
    assert_eq!(counts.read(), Counted { made, failed: 0, last: Some(true) });
    world.ail("a", Failure::Reset);
    world.pass(3 * SECOND);
    assert_eq!(world.news(), [is("a", Health::Up, None)], "one failure or two are no news");
    let all = world.begun.len() as u64;
    assert_eq!(counts.read(), Counted { made: all, failed: all - made, last: Some(false) });
    assert!(all > made);
}

#[test]
fn results_in_a_row_count_and_others_do_not() {
    let mut world = World::new(8, [target("a")]);
    world.pass(3 * SECOND);
    world.news();
    for _ in 0..20 {
        world.ail("a", Failure::Reset);
        let begun = world.begun.len();
        while world.begun.len() < begun + 2 {
            world.pass(SECOND / 10);
        }
        world.ails.clear();
        let begun = world.begun.len();
        while world.begun.len() < begun + 1 {
            world.pass(SECOND / 10);
        }
    }
    assert_eq!(world.news(), [], "two of three never fell in a row");
    world.ail("a", Failure::Reset);
    world.pass(8 * SECOND);
    assert_eq!(world.news(), [is("a", Health::Down, Some("reset by the backend"))]);
    world.ails.clear();
    let begun = world.begun.len();
    while world.news.is_empty() {
        world.pass(SECOND / 10);
    }
    assert_eq!(world.begun.len() - begun, 2, "it rises after two");
    assert_eq!(world.news(), [is("a", Health::Up, None)]);
}

#[test]
fn who_does_not_answer_has_timed_out() {
    let mut world = World::new(8, [target("a")]);
    world.ail("a", silence());
    world.pass(9 * SECOND);
    let why = "timed out after 1s, before the connection was open";
    assert_eq!(world.news(), [is("a", Health::Down, Some(why))]);
    assert_eq!(world.checks.poll_timeout().map(|at| at > world.now), Some(true));
}

/// The tenth that is left to chance, and no drift: between any two checks lie 1.8 to 2.2 seconds.
#[test]
fn checks_keep_their_pace_and_not_step() {
    let mut world = World::new(8, [target("a"), target("b"), target("c")]);
    world.ail("c", silence());
    world.pass(2_000 * SECOND);
    let mut firsts = Vec::new();
    for backend in ["a", "b", "c"] {
        let at: Vec<_> = world.begun.iter().filter(|(name, _)| name == backend).map(|(_, at)| *at).collect();
        let spans: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(spans.iter().all(|span| (SECOND * 9 / 5..=SECOND * 11 / 5).contains(span)), "{spans:?}");
        assert!(spans.iter().min() != spans.iter().max(), "chance has its part");
        assert!((950..1_050).contains(&at.len()), "{}", at.len());
        firsts.push(at[0]);
    }
    firsts.dedup();
    assert_eq!(firsts.len(), 3, "no two together");
}

#[test]
fn only_so_many_are_open_at_a_time_and_nobody_is_left_out() {
    let names: Vec<_> = (0..20).map(|number| format!("b{number}")).collect();
    let mut world = World::new(3, names.iter().map(|name| target(name)));
    for name in &names {
        world.ail(name, silence());
    }
    for _ in 0..400 {
        world.pass(SECOND / 10);
        assert!(world.checks.open() <= 3);
    }
    // Three at a time for a second each: 120 checks in 40 seconds, by turns.
    for name in &names {
        let count = world.begun.iter().filter(|(begun, _)| begun == name).count();
        assert!((4..=7).contains(&count), "{name}: {count}");
    }
}

#[test]
fn what_stays_keeps_what_is_known_and_what_changes_is_checked_anew() {
    let mut world = World::new(8, [target("a"), target("b"), target("gone")]);
    world.ail("b", silence());
    world.ail("gone", silence());
    world.pass(9 * SECOND);
    world.news();
    // Until one of b's is under way.
    while !world.is_checking("b") {
        world.pass(SECOND / 100);
    }
    let under_way = world.checks.open();
    let abandoned = world.checks.replace(world.now, [target("a"), target("b"), target("new")]);
    assert_eq!(
        (abandoned.len(), world.checks.open()),
        (under_way - 1, 1),
        "b's goes on, and that of the one that is gone ends"
    );
    for attempt in abandoned {
        world.checks.end(attempt, Ok(()));
        assert_eq!(world.checks.target(attempt).map(|target| &target.backend), None);
    }
    world.pass(4 * SECOND);
    assert_eq!(world.news(), [is("new", Health::Up, None)], "nothing else is news, nor is a check that was abandoned");

    let elsewhere = Target { address: "198.18.0.80:8080".parse().unwrap(), ..target("b") };
    while world.checks.open() == 0 {
        world.pass(SECOND / 100);
    }
    assert_eq!(world.checks.replace(world.now, [elsewhere.clone()]).len(), 1, "it was connecting elsewhere");
    world.ails.clear();
    let quick = Target { check: Check { rise: 1, interval: SECOND, ..target("b").check }, ..elsewhere };
    assert_eq!(world.checks.replace(world.now, [quick]).len(), 0);
    world.pass(SECOND);
    assert_eq!(world.news(), [is("b", Health::Up, None)], "it was known to be down, and now rises after one");
}

#[test]
fn what_was_known_before_counts_until_checks_say_otherwise() {
    let known = |backend, known| Target { known, ..target(backend) };
    let mut world = World::new(8, [known("up", Health::Up), known("down", Health::Down)]);
    world.pass(3 * SECOND);
    assert_eq!(world.news(), [], "of the one that was up nothing is news, and the other has risen once");
    world.pass(2 * SECOND);
    assert_eq!(world.news(), [is("down", Health::Up, None)]);
}

#[test]
fn who_cannot_be_reached_is_down_and_who_cannot_be_checked_stays_what_he_was() {
    let unreachable = Obstacle::Unreachable("198.18.0.11 does not answer on eth0".to_owned());
    let uncheckable = Obstacle::Uncheckable("eth0 has no IPv6 address: give it one".to_owned());
    let with = |backend, obstacle: &Obstacle| Target { route: Err(obstacle.clone()), ..target(backend) };
    let mut world = World::new(8, [with("a", &unreachable), with("b", &uncheckable)]);
    world.pass(8 * SECOND);
    let (no_way, no_source) = ("198.18.0.11 does not answer on eth0", "eth0 has no IPv6 address: give it one");
    let expected = [is("b", Health::Unknown, Some(no_source)), is("a", Health::Down, Some(no_way))];
    assert_eq!(world.news(), expected);
    assert!(world.begun.is_empty());
    world.checks.replace(world.now, [with("a", &unreachable), with("b", &uncheckable)]);
    world.pass(8 * SECOND);
    assert_eq!(world.news(), [], "nothing is said twice");
    world.checks.replace(world.now, [target("a"), target("b")]);
    world.pass(8 * SECOND);
    let mut news = world.news();
    news.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(news, [is("a", Health::Up, None), is("b", Health::Up, None)]);
}

#[test]
fn a_check_that_cannot_be_made_counts_for_nothing_and_is_told_once() {
    let mut checks = Checks::new(1, 1);
    let mut now = Instant::ZERO;
    checks.replace(now, [Target { known: Health::Up, ..target("a") }]);
    let mut news = Vec::new();
    for round in 0..20 {
        now = checks.poll_timeout().unwrap();
        let (attempt, _) = checks.begin(now).expect("it is due");
        if round == 10 {
            checks.end(attempt, Ok(()));
        } else {
            checks.give_up(attempt, "no port is left");
        }
        news.extend(std::iter::from_fn(|| checks.poll_news()));
    }
    let told = News {
        service: "web".to_owned(),
        backend: "a".to_owned(),
        health: Health::Up,
        why: Some("no port is left".to_owned()),
    };
    let over = News { why: None, ..told.clone() };
    assert_eq!(news, [told.clone(), over, told], "again only after it had gone well");
}

#[test]
fn a_check_that_has_to_wait_is_soon_made_and_told_of_only_when_it_waits_for_long() {
    let mut checks = Checks::new(1, 1);
    let (mut now, mut news) = (Instant::ZERO, Vec::new());
    checks.replace(now, [target("a")]);
    let first = checks.poll_timeout().unwrap();
    for _ in 0..5 {
        now = checks.poll_timeout().unwrap();
        let (attempt, _) = checks.begin(now).expect("it is due");
        checks.put_off(now, attempt, "no port is left");
        assert_eq!((checks.begin(now).is_none(), checks.open()), (true, 0), "not at once");
    }
    assert_eq!(now - first, SECOND * 4 / 10);
    now = checks.poll_timeout().unwrap();
    let (attempt, _) = checks.begin(now).unwrap();
    checks.end(attempt, Ok(()));
    news.extend(std::iter::from_fn(|| checks.poll_news()));
    assert_eq!(news.len(), 1, "that it is up: {news:?}");
    for _ in 0..100 {
        now = checks.poll_timeout().unwrap();
        let (attempt, _) = checks.begin(now).expect("it is due");
        checks.put_off(now, attempt, "no port is left");
    }
    news.extend(std::iter::from_fn(|| checks.poll_news()));
    assert_eq!((news.len(), news[1].health, news[1].why.as_deref()), (2, Health::Up, Some("no port is left")));
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn requests_name_the_host_as_a_browser_would() {
    let ask = |http: &Http, of: &str| String::from_utf8(http::request(http, address(of))).unwrap();
    let plain = "GET / HTTP/1.1\r\nHost: 198.18.0.80\r\nUser-Agent: xskip\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&Http::default(), "198.18.0.80:80"), plain);
    let healthz = Http { path: "/healthz?deep=1".to_owned(), ..Http::default() };
    let asked = ask(&healthz, "[2001:2::80]:8080");
    assert!(asked.starts_with("GET /healthz?deep=1 HTTP/1.1\r\nHost: [2001:2::80]:8080\r\n"), "{asked}");
    assert!(ask(&Http::default(), "[2001:2::80]:80").contains("\r\nHost: [2001:2::80]\r\n"));
    let named = Http { host: Some("www.example.org".to_owned()), ..Http::default() };
    assert!(ask(&named, "198.18.0.80:80").contains("\r\nHost: www.example.org\r\n"));
}

#[test]
fn answers_are_well_by_their_status() {
    let read = |octets: &str| http::read(&Http::default(), octets.as_bytes());
    for well in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 204\r\n\r\n", "HTTP/1.1 399 \r\nA: b\r\n\r\nbody"] {
        assert_eq!(read(well), Said::Answer(Ok(())), "{well:?}");
    }
    let status = |code, reason: &str| Said::Answer(Err(Failure::Status { code, reason: reason.to_owned() }));
    let unwell = read("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n");
    assert_eq!(unwell, status(503, "Service Unavailable"));
    assert_eq!(read("HTTP/1.1 404\r\n\r\n"), status(404, ""));
    assert_eq!(read("HTTP/1.1 101 Switching Protocols\r\n\r\n"), status(101, "Switching Protocols"));
    assert_eq!(read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Said::Interim(25));
    let only = Http { expect: 503..=503, ..Http::default() };
    assert_eq!(http::read(&only, b"HTTP/1.1 503 Maintenance\r\n\r\n"), Said::Answer(Ok(())));
    let told = Failure::Status { code: 503, reason: "Service Unavailable".to_owned() }.to_string();
    assert_eq!(told, "answered 503 Service Unavailable");
}

#[test]
fn what_is_no_answer_is_told_from_what_is_none_yet() {
    let read = |octets: &[u8]| http::read(&Http::default(), octets);
    let whole = b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n";
    for length in 0..whole.len() {
        assert_eq!(read(&whole[..length]), Said::Partly, "{length}");
    }
    assert_eq!(read(b"SSH-2.0-OpenSSH_9.2p1\r\n"), Said::Answer(Err(Failure::NotHttp)));
    assert_eq!(read(b"\x16\x03\x01\x02"), Said::Answer(Err(Failure::NotHttp)));
    let endless = |field: &str, times| format!("HTTP/1.1 200 OK\r\n{}", field.repeat(times));
    assert_eq!(read(endless("A: b\r\n", 200).as_bytes()), Said::Answer(Err(Failure::EndlessHead)));
    let long = endless(&format!("A: {}\r\n", "b".repeat(1_000)), 17);
    assert_eq!(read(long.as_bytes()), Said::Answer(Err(Failure::EndlessHead)));
    assert_eq!(read(&long.as_bytes()[..16_000]), Said::Partly);
    let ended = format!("{long}\r\n");
    assert_eq!(read(ended.as_bytes()), Said::Answer(Err(Failure::EndlessHead)));
}

/// Whatever a backend says is an answer, none yet, or none at all; and what is told of it can be printed.
#[test]
fn nothing_that_is_said_does_harm() {
    let whole = b"HTTP/1.1 503 Service \xfcnavailable \x1b[31m\r\nRetry-After: 5\r\n\r\n";
    let check = |octets: &[u8]| {
        if let Said::Answer(Err(failure)) = http::read(&Http::default(), octets) {
            let told = failure.to_string();
            assert!(!told.chars().any(char::is_control) && told.len() < 400, "{told:?} of {octets:02x?}");
        }
    };
    for at in 0..whole.len() {
        for octet in 0..=255 {
            let mut octets = *whole;
            octets[at] = octet;
            check(&octets);
            check(&octets[..=at]);
        }
    }
    let long = format!("HTTP/1.1 500 {}\r\n\r\n", "very ".repeat(1_000));
    check(long.as_bytes());
}
