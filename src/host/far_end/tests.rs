use super::*;

fn far_end() -> FarEnd {
    FarEnd { name: "eth0".to_owned(), namespace: Some("blue".to_owned()), ..FarEnd::default() }
}

#[test]
fn the_remedy_names_the_peer_where_it_is_known() {
    let known = "`ip netns exec blue ethtool -K eth0 gro off; ip netns exec blue ethtool -K eth0 gro on`";
    assert_eq!(FarEnd::remedy(Some(&far_end())), known);
    let here = FarEnd { namespace: None, ..far_end() };
    assert_eq!(FarEnd::remedy(Some(&here)), "`ethtool -K eth0 gro off; ethtool -K eth0 gro on`");
    assert!(FarEnd::remedy(None).contains("ethtool -K PEER gro on"));
}
