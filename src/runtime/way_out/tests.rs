use super::*;
use crate::host::ethtool::{Feature, Features};

fn far_end(gro: bool, has_xdp: bool) -> FarEnd {
    let features: Features = [("rx-gro".to_owned(), Feature { on: gro, changeable: true })].into_iter().collect();
    FarEnd { name: "eth0".to_owned(), namespace: Some("blue".to_owned()), features, has_xdp }
}

#[test]
fn the_kernel_is_believed_then_the_peer_and_of_nobody_the_least_is_expected() {
    let (gro, xdp, neither) = (far_end(true, false), far_end(false, true), far_end(false, false));
    // GRO that was on before the peer was up looks like any other, and the kernel refuses all the same.
    assert!(!arrives(Some(false), Some(&gro)));
    assert!(arrives(Some(true), None));
    assert!(arrives(None, Some(&gro)) && arrives(None, Some(&xdp)) && !arrives(None, Some(&neither)));
    assert!(!arrives(None, None));
}
