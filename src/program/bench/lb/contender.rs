//! The balancers that are compared, and which of the scenarios each of them has a part in.

use super::Trial;
use crate::{bench::turns::Named, lb::Mode};
use std::{fmt, str::FromStr};

/// One that is compared with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LbContender {
    /// `xskip lb run`.
    Xskip,
    /// HAProxy, which ends TCP connections and opens others (`mode tcp`).
    Haproxy,
    /// nginx, likewise (the module `stream`).
    NginxStream,
    /// The kernel's own: nftables with `jhash` and `dnat`, on its connection tracking.
    NftDnat,
    /// An XDP program that sends frames on and looks nothing up: in [`Trial::Flood`] out of another link, as they are; in
    /// [`Trial::Steady`] to another station of the link they came by, there and back.
    Redirect,
    /// No balancer at all: clients go to a backend.
    Direct,
}

impl LbContender {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 6] =
        [Self::Xskip, Self::Haproxy, Self::NginxStream, Self::NftDnat, Self::Redirect, Self::Direct];

    /// Those that have a part in a trial of a mode of this crate's balancer, in the order of a report.
    pub fn of(trial: Trial, mode: Mode) -> Vec<Self> {
        Self::ALL.into_iter().filter(|it| it.has_part_in(trial, mode)).collect()
    }

    fn has_part_in(self, trial: Trial, mode: Mode) -> bool {
        match self {
            // Who ends connections is compared with others who do.
            _ if trial == Trial::Flood && mode == Mode::Proxy => {
                matches!(self, Self::Xskip | Self::Haproxy | Self::NginxStream)
            }
            Self::Xskip => true,
            Self::Haproxy | Self::NginxStream => trial != Trial::Flood,
            Self::NftDnat => true,
            Self::Redirect => matches!(trial, Trial::Steady | Trial::Flood),
            Self::Direct => trial == Trial::Steady,
        }
    }
}

impl Named for LbContender {
    fn name(self) -> &'static str {
        match self {
            Self::Xskip => "xskip",
            Self::Haproxy => "haproxy",
            Self::NginxStream => "nginx-stream",
            Self::NftDnat => "nft-dnat",
            Self::Redirect => "redirect",
            Self::Direct => "direct",
        }
    }
}

impl fmt::Display for LbContender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no contender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no contender: name {names}", names = names(&LbContender::ALL))]
pub struct UnknownBalancer(String);

impl FromStr for LbContender {
    type Err = UnknownBalancer;

    fn from_str(text: &str) -> Result<Self, UnknownBalancer> {
        Self::ALL.into_iter().find(|it| it.name() == text).ok_or_else(|| UnknownBalancer(text.to_owned()))
    }
}

/// In a list, as they are typed.
pub(in crate::bench) fn names<C: Named>(contenders: &[C]) -> String {
    contenders.iter().map(|&it| it.name()).collect::<Vec<_>>().join(", ")
}
