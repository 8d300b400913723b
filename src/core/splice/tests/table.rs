//! The carrier in memory.

use super::*;
use crate::splice::{Carrier, PairId, Table};

#[test]
fn takes_so_many_and_no_more() {
    let mut table = Table::new(2);
    assert!(table.is_empty());
    let ids = [0, 1].map(|_| table.take(&pair()).expect("there is room"));
    assert_eq!((table.take(&pair()), table.len()), (None, 2));
    assert_eq!(table.forget(ids[0]), Some(pair()));
    assert!(table.take(&pair()).is_some());
}

/// A place is used again, and whoever has the id of before means nobody.
#[test]
fn a_stale_id_is_never_another_pairs() {
    let mut table = Table::new(1);
    let first = table.take(&pair()).expect("there is room");
    table.forget(first).expect("it is there");
    assert_eq!(table.forget(first), None);
    let second = table.take(&pair()).expect("there is room again");
    assert_eq!((second.index(), second.generation()), (first.index(), first.generation() + 1));
    let mut said = frame(&pair(), Side::Client, &header(Side::Client, 0, 0), b"x");
    assert_eq!((table.look(first), table.forget(first)), (None, None));
    assert_eq!(table.translate(NOW, first, &mut said), Err(Refusal::NotOurs));
    table.point(first, Side::Client, LinkHeader::default(), 68);
    assert_eq!(table.look(second), Some(pair()));
    assert_eq!(table.look(PairId::new(9, 0)), None);
}

#[test]
fn translates_and_learns() {
    let mut table = Table::new(1);
    let id = table.take(&pair()).expect("there is room");
    let mut said = frame(&pair(), Side::Client, &header(Side::Client, 0, 0), b"x");
    assert_eq!(table.translate(NOW, id, &mut said), Ok(Side::Backend));
    assert_eq!(table.look(id).map(|pair| pair.stream(Side::Client).carried), Some(1));
    let link = LinkHeader { destination: ROUTER, source: OURS, ..LinkHeader::default() };
    table.point(id, Side::Backend, link, 1_280);
    let pair = table.forget(id).expect("it is there");
    assert_eq!((pair.link(Side::Backend).destination, pair.ends[1].mtu), (ROUTER, 1_280));
}
