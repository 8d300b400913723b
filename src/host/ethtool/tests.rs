use super::*;

fn bitset(bits: &[(&str, bool)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, set) in bits {
        let mut bit = attribute(1, &7_u32.to_ne_bytes());
        bit.extend(attribute(BIT_NAME, &[name.as_bytes(), &[0]].concat()));
        if *set {
            bit.extend(attribute(BIT_VALUE, &[]));
        }
        list.extend(nested(BITS_BIT, &bit));
    }
    let size = attribute(2, &64_u32.to_ne_bytes());
    [size, nested(BITSET_BITS, &list)].concat()
}

/// A bitset without a mask: only what is set is named, and no value is given.
fn list(names: &[&str]) -> Vec<u8> {
    let bits: Vec<_> = names.iter().map(|name| (*name, false)).collect();
    [attribute(BITSET_NOMASK, &[]), bitset(&bits)].concat()
}

#[test]
fn features_are_on_or_off_and_changeable_or_fixed() {
    let reply = [
        nested(1, &attribute(1, &2_u32.to_ne_bytes())),
        nested(FEATURES_HW, &bitset(&[("rx-gro", true), ("highdma", false), ("tx-lockless", true)])),
        nested(FEATURES_WANTED, &list(&["rx-gro"])),
        nested(FEATURES_ACTIVE, &list(&["rx-gro", "highdma"])),
        nested(FEATURES_NOCHANGE, &list(&["tx-lockless"])),
    ]
    .concat();
    let features = parse_features(&reply).unwrap();
    assert_eq!(features.get("rx-gro"), Some(Feature { on: true, changeable: true }));
    assert_eq!(features.get("highdma"), Some(Feature { on: true, changeable: false }));
    assert_eq!(features.get("tx-lockless"), Some(Feature { on: false, changeable: false }));
    assert_eq!(features.get("unheard-of"), None);
    assert!(features.has_gro() && !features.offloads_tx_checksums() && !features.sends_super_frames());
}

#[test]
fn a_truncated_reply_is_an_error_and_not_a_panic() {
    let reply = nested(FEATURES_ACTIVE, &bitset(&[("rx-gro", true), ("highdma", true)]));
    assert!(parse_features(&reply).is_ok());
    for length in 1..reply.len() {
        assert!(parse_features(&reply[..length]).is_err(), "{length} of {} bytes", reply.len());
    }
    assert!(parse_channels(&attribute(9, &[1, 2])).is_err());
    assert!(parse_rss(&attribute(4, &[0; 7])).is_err());
}

#[test]
fn combined_channels_count_both_ways() {
    let counts = [(2, 1), (3, 2), (5, 8), (6, 1), (7, 2), (9, 4)];
    let reply: Vec<u8> = counts.iter().flat_map(|(kind, n): &(u16, u32)| attribute(*kind, &n.to_ne_bytes())).collect();
    assert_eq!(parse_channels(&reply).unwrap(), Channels { rx: 5, tx: 6, rx_max: 9, tx_max: 10 });
}

#[test]
fn the_indirection_table_is_a_list_of_queues() {
    let table: Vec<u8> = [0_u32, 1, 2, 3].iter().flat_map(|queue| queue.to_ne_bytes()).collect();
    let reply = [attribute(4, &table), attribute(5, &[0xde, 0xad])].concat();
    let rss = Rss { indirection: vec![0, 1, 2, 3], key: vec![0xde, 0xad], is_toeplitz: false };
    assert_eq!(parse_rss(&reply).unwrap(), rss);
    for (function, transformation, is_toeplitz) in [(1_u32, 0_u32, true), (2, 0, false), (1, 1, false)] {
        let how = [attribute(3, &function.to_ne_bytes()), attribute(6, &transformation.to_ne_bytes())].concat();
        let reply = [how, reply.clone()].concat();
        assert_eq!(parse_rss(&reply).unwrap(), Rss { is_toeplitz, ..rss.clone() });
    }
}

#[test]
fn a_plain_wire_names_each_feature_once() {
    let names: Vec<_> = plain_wire().map(|(name, _)| name).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
}

#[test]
fn loopback_tells_its_features_and_has_no_channels() {
    let mut ethtool = Ethtool::open().unwrap();
    let link = Link::find("lo").unwrap();
    let features = ethtool.features(&link).unwrap();
    assert!(features.iter().count() > 20);
    assert_eq!(ethtool.channels(&link).unwrap(), None);
    assert_eq!(ethtool.rss(&link).unwrap(), None);
    let ghost = Link { index: u32::MAX / 2, name: "ghost".to_owned(), ..Link::default() };
    assert_eq!(
        ethtool.features(&ghost).unwrap_err().to_string(),
        "could not read the features of ghost: No such device (os error 19)"
    );
}
