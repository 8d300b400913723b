//! What a handshake agrees on.

use super::*;
use crate::{
    tcp::{Offer, handshake::default_mss},
    wire::TcpOptions,
};

fn agreed(offer: &Offer, config: &TcpConfig) -> Handshake {
    Handshake::new(tuple(), LinkHeader::default(), ISS, IRS, offer, config)
}

#[test]
fn sack_takes_both_ends() {
    let offers = |sack| Offer { mss: 1_460, window_scale: None, sack, ecn: false, timestamps: false };
    for (theirs, ours) in [(false, false), (false, true), (true, false), (true, true)] {
        let config = TcpConfig { sack: ours, ..TcpConfig::default() };
        assert_eq!(agreed(&offers(theirs), &config).sack, theirs && ours);
    }
}

#[test]
fn the_syn_ack_answers_the_syn_and_promises_what_was_agreed() {
    let config = TcpConfig::default();
    let syn = TcpOptions { mss: Some(1_000), window_scale: Some(7), sack_permitted: true, ..TcpOptions::default() };
    let handshake = agreed(&Offer::of_syn(&syn, true, 536), &config);
    let syn_ack = handshake.syn_ack(handshake.syn_ack_options(config.at(Instant::ZERO)), &config);
    assert_eq!((syn_ack.seq, syn_ack.ack), (ISS, IRS.advance(1)));
    assert_eq!(syn_ack.flags, SYN | ACK | TcpFlags::ECE);
    let options = syn_ack.options;
    assert_eq!((options.mss, options.window_scale.is_some(), options.sack_permitted), (Some(1_460), true, true));
    assert_eq!(options.timestamps, None, "the SYN had none");
}

#[test]
fn a_syn_without_options_is_answered_without_any_but_the_mss() {
    let config = TcpConfig::default();
    let address = tuple().remote.address;
    let handshake = agreed(&Offer::of_syn(&TcpOptions::default(), false, default_mss(address)), &config);
    assert_eq!(handshake.peer_mss, 536);
    let options = handshake.syn_ack_options(config.at(Instant::ZERO));
    assert_eq!(options, TcpOptions { mss: Some(1_460), ..TcpOptions::default() });
}

#[test]
fn the_ip_header_of_a_segment_follows_the_configuration() {
    let config = TcpConfig { hop_limit: 7, ..TcpConfig::default() };
    let ip = config.ip_header(&tuple(), 0xb8);
    assert_eq!((ip.source, ip.destination), (tuple().local.address, tuple().remote.address));
    assert_eq!((ip.hop_limit, ip.traffic_class, ip.protocol), (7, 0xb8, wire::Protocol::Tcp));
}
