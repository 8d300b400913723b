//! What is the same in all SYN-ACKs of a listener, whoever sends them.

use crate::{
    config::TcpConfig,
    tcp::{
        MaxSegment,
        handshake::{mss_for, syn_ack_window},
        receive::window_scale_for,
    },
    wire::ip::Codepoint,
};
use std::net::IpAddr;

/// What all SYN-ACKs from an address and port have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynAckProfile {
    /// The MSS we announce, bytes.
    pub mss: u16,
    /// The window, bytes: a SYN's is never scaled.
    pub window: u16,
    /// Our window scale.
    pub window_scale: u8,
    /// Whether we use SACK.
    pub sack: bool,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
}

impl SynAckProfile {
    /// That of a listener in a stack with this configuration.
    pub fn of(local: IpAddr, max_segment: MaxSegment, config: &TcpConfig) -> Self {
        Self {
            mss: max_segment.of(mss_for(local, config.mtu)),
            window: syn_ack_window(config),
            window_scale: window_scale_for(config.receive_buffer),
            sack: config.sack,
            hop_limit: config.hop_limit,
            traffic_class: config.dscp.with(Codepoint::NotCapable),
        }
    }
}
