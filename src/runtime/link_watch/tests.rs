//! What is noticed of an interface that changes.

use super::{Change, Followers, Notices, Watched};
use crate::{
    host::Link,
    stack::{LocalAddress, Ownership},
    wire::MacAddress,
};

fn link() -> Link {
    let addresses = vec![([198, 18, 0, 254].into(), 24)];
    Link { index: 7, name: "veth0".to_owned(), mtu: 1_500, rx_queues: 2, addresses, ..Link::default() }
}

/// Both queues of [`link`], its address shared, and one of our own.
fn watched() -> Watched {
    let local = |text: &str, ownership| LocalAddress { cidr: text.parse().unwrap(), ownership };
    let addresses = vec![local("198.18.0.254/24", Ownership::Shared), local("198.18.0.1/24", Ownership::Own)];
    let notices = Notices::new(None, false);
    let (queues, followers, router) = (vec![0, 1], Followers::default(), None);
    Watched { link: link(), queues, addresses, mtu_max: 1_770, followers, notices, router }
}

#[track_caller]
fn noticed(change: impl Fn(&mut Link)) -> (Change, bool, String) {
    let (mut watched, mut changed) = (watched(), link());
    change(&mut changed);
    let changes = watched.notice(changed.clone());
    assert_eq!(watched.notice(changed), [], "it is said once");
    let [change] = &changes[..] else { panic!("one change is one: {changes:?}") };
    (change.clone(), change.hurts(), change.to_string())
}

#[test]
fn an_interface_that_stays_as_it_is_makes_no_noise() {
    assert_eq!(watched().notice(link()), []);
}

#[test]
fn each_change_is_said_once_and_with_its_remedy() {
    let (change, hurts, _) = noticed(|link| link.mtu = 1_400);
    assert_eq!((change, hurts), (Change::Mtu { mtu: 1_400, most: 1_770 }, false));
    let (_, hurts, said) = noticed(|link| link.mtu = 3_000);
    assert!(hurts && said.contains("larger ones are lost"), "{said}");
    let (change, hurts, _) = noticed(|link| link.name = "lan0".to_owned());
    assert_eq!((change, hurts), (Change::Renamed("lan0".to_owned()), false));
    let (change, hurts, said) = noticed(|link| link.mac = [2, 0, 0, 0, 0, 9]);
    assert_eq!((change, hurts), (Change::Mac(MacAddress([2, 0, 0, 0, 0, 9])), false));
    assert!(said.contains("02:00:00:00:00:09"), "{said}");
    let (_, hurts, said) = noticed(|link| link.addresses.clear());
    assert!(hurts && said.contains("198.18.0.254 no longer"), "{said}");
    let (change, hurts, _) = noticed(|link| link.addresses.push(([198, 18, 0, 1].into(), 24)));
    assert_eq!((change, hurts), (Change::Taken([198, 18, 0, 1].into()), true));
}

#[test]
fn queues_that_nobody_serves_are_named() {
    let (change, hurts, said) = noticed(|link| link.rx_queues = 4);
    assert_eq!((change, hurts), (Change::Queues { count: 4, unserved: vec![2, 3] }, true));
    assert!(said.contains("nobody serves 2, 3"), "{said}");
    // Fewer than before: those that are left have their workers.
    let (change, hurts, _) = noticed(|link| link.rx_queues = 1);
    assert_eq!((change, hurts), (Change::Queues { count: 1, unserved: vec![] }, false));
}

#[test]
fn what_becomes_of_an_address_between_its_choice_and_its_service_is_said() {
    let taken = LocalAddress { cidr: "198.18.0.77/24".parse().unwrap(), ownership: Ownership::Own };
    let shared = LocalAddress { cidr: "198.18.0.78/24".parse().unwrap(), ownership: Ownership::Shared };
    let address = |local: LocalAddress| local.cidr.address;
    let mut with = link();
    with.addresses.push((address(taken), 24));
    // Both were looked for, the first one has come to the kernel since, and the second one has gone.
    let mut watched = watched();
    assert_eq!(watched.notice(with.clone()), []);
    watched.add(taken);
    watched.add(shared);
    let gone = Change::Shared { address: address(shared), there: false };
    assert_eq!(watched.notice(with.clone()), [Change::Taken(address(taken)), gone]);
    assert_eq!(watched.notice(with), []);
}

#[test]
fn a_shared_address_that_comes_back_is_good_news() {
    let mut watched = watched();
    let without = Link { addresses: Vec::new(), ..link() };
    assert_eq!(watched.notice(without), [Change::Shared { address: [198, 18, 0, 254].into(), there: false }]);
    let back = watched.notice(link());
    assert_eq!(back, [Change::Shared { address: [198, 18, 0, 254].into(), there: true }]);
    assert!(!back[0].hurts());
}
