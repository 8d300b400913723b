use super::*;
use crate::{
    lb::{Limits, Maglev, Row, Tick},
    rng::SipKey,
    time::Instant,
};
use std::net::SocketAddr;

fn key() -> RowKey {
    RowKey::new(SipKey::from_seed(1))
}

fn service(name: &str, port: u16, backends: &[&str]) -> Service {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let backends = backends.iter().map(|name| Backend::new(*name, at("198.18.0.11:80")));
    let maglev = Arc::new(Maglev::new(key().of_placement()));
    let service = Service::tcp(name, SocketAddr::new("198.18.0.80".parse().unwrap(), port), maglev);
    Service { rows: RowCount::new(101).unwrap(), ..service }.with(backends)
}

/// What a balancer leaves, and the rows that it has.
fn left(services: Vec<Vec<Service>>) -> (Record, Balancer) {
    let mut balancer = Balancer::new(key(), Limits::default());
    for (second, services) in (1..).zip(services) {
        let now = Instant::ZERO + std::time::Duration::from_secs(second);
        let plan = balancer.plan(services, now).unwrap();
        balancer.apply(&plan, now).unwrap();
    }
    let names: Vec<String> = (0..4).map(|table| format!("rows-{table}")).collect();
    let record = Record::of(digest(&key()), &balancer, |id| Some(&names[balancer.table(id)?]));
    (record, balancer)
}

#[test]
fn what_was_written_down_is_read_again() {
    let (record, _) = left(vec![vec![service("web", 80, &["a", "b"]), service("dns", 53, &["b"])]]);
    assert_eq!(record.services.iter().flatten().count(), 2);
    let octets = record.to_octets();
    assert_eq!(Record::from_octets(&octets), Some(record));
    for length in 0..octets.len() {
        assert_eq!(Record::from_octets(&octets[..length]), None, "cut off at {length}");
    }
    let of_another_form = [(FORM + 1).to_le_bytes().as_slice(), &octets[8..]].concat();
    assert_eq!(Record::from_octets(&of_another_form), None);
    assert_eq!(Record::from_octets(&[octets, vec![0]].concat()), None);
}

#[test]
fn a_balancer_that_goes_on_has_the_same_numbers_and_older_generations() {
    let (before, after) = (vec![service("web", 80, &["a", "b"])], vec![service("web", 80, &["b", "c"])]);
    let drained =
        Service { backends: [before[0].backends.clone(), after[0].backends.clone()].concat(), ..after[0].clone() };
    let mut drained = drained;
    drained.backends.dedup_by(|one, other| one.name == other.name);
    let (record, old) = left(vec![before, vec![drained.clone()]]);
    let id = old.service("web").unwrap();
    let now = Instant::ZERO + std::time::Duration::from_secs(5);
    let image = record.image(|_| Some(old.rows(id)?.to_vec()), |_| None, Vec::new());
    let mut new = Balancer::resume(key(), Limits::default(), image, now).unwrap();
    let plan = new.plan(vec![drained], now).unwrap();
    new.apply(&plan, now).unwrap();
    let rows = |balancer: &Balancer| -> Vec<Row> {
        let rows = balancer.rows(id).unwrap().iter().map(|&bits| Row::from_bits(bits));
        // Of a row that has settled, when it was heard says nothing.
        let heard = |row: Row| if row.before.is_some() { row.heard } else { Tick::default() };
        rows.map(|row| Row { watched: false, heard: heard(row), ..row }).collect()
    };
    assert!(rows(&old).iter().any(|row| row.before.is_some()));
    assert_eq!(rows(&new), rows(&old));
    for name in ["a", "b", "c"] {
        assert_eq!(new.backend(id, name), old.backend(id, name));
    }
}

#[test]
fn a_service_with_other_rows_begins_anew() {
    let (record, old) = left(vec![vec![service("web", 80, &["a"])]]);
    let rows = |_: &str| Some(old.rows(old.service("web").unwrap())?.to_vec());
    let image = record.image(rows, |_| RowCount::new(103), Vec::new());
    assert!(image.services.iter().all(Option::is_none));
    let image = record.image(|_| None, |_| None, Vec::new());
    assert!(image.services.iter().all(Option::is_none), "nor does one whose rows are lost");
}
