use super::*;

#[test]
fn features_are_a_word_among_others() {
    let index = attribute(DEV_IFINDEX, &2_u32.to_ne_bytes());
    let reply = |features: &[u8]| [index.clone(), attribute(DEV_XDP_FEATURES, features)].concat();
    assert_eq!(parse_features(&reply(&0x67_u64.to_ne_bytes())).unwrap(), 0x67);
    assert!(parse_features(&index).is_err(), "none");
    let whole = reply(&[0; 8]);
    for length in 1..whole.len() {
        assert!(parse_features(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn nothing_is_redirected_to_loopback_nor_to_what_is_not_there() {
    // The family is younger than the oldest kernel that this is made for.
    let Some(mut netdev) = Netdev::open().unwrap() else { return };
    assert!(!netdev.takes_redirects(&Link::find("lo").unwrap()).unwrap());
    let ghost = Link { index: u32::MAX / 2, name: "ghost".to_owned(), ..Link::default() };
    let refused = netdev.takes_redirects(&ghost).unwrap_err();
    assert_eq!(refused.to_string(), "could not ask what ghost can do for XDP: No such device (os error 19)");
}
