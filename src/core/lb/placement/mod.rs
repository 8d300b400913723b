//! Which row is whose: the one place where a policy of one's own plugs in.
//!
//! A placement is asked off the hot path, when a service's backends change, and never per packet: what it says becomes
//! a table, which serves the XDP program and workers alike. Balancers that have the same configuration must get the
//! same table, so it depends on names and weights alone: not on addresses, not on the order of a file, not on health,
//! not on chance.

mod maglev;
mod rendezvous;
mod second;

use std::fmt;

pub use self::{maglev::Maglev, rendezvous::Rendezvous};
pub(super) use second::second_choices;

/// How many rows a table has: a prime, so that whatever steps through it meets every row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowCount(u32);

impl RowCount {
    /// 65,537 rows: half a mebibyte. One of 100 backends has 655 of them.
    pub const DEFAULT: Self = Self(65_537);

    /// 4,093 rows: for services in thousands.
    pub const SMALL: Self = Self(4_093);

    /// The fewest.
    pub const MIN: u32 = 101;

    /// The most.
    pub const MAX: u32 = 65_537;

    /// So many; `None` where it is no prime, or below [`RowCount::MIN`] or above [`RowCount::MAX`].
    pub const fn new(rows: u32) -> Option<Self> {
        if rows < Self::MIN || rows > Self::MAX {
            return None;
        }
        let mut divisor = 2;
        while divisor * divisor <= rows {
            if rows.is_multiple_of(divisor) {
                return None;
            }
            divisor += 1;
        }
        Some(Self(rows))
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for RowCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A backend that wants rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its stable name.
    pub name: &'a str,
    /// Its weight, above 0.
    pub weight: u32,
}

/// A way to divide rows among backends.
///
/// ```
/// use xskip_core::lb::{Candidate, Placement};
///
/// /// All rows go to the first by name.
/// #[derive(Debug)]
/// struct First;
///
/// impl Placement for First {
///     fn place(&self, _: &[Candidate<'_>], rows: &mut [u16]) {
///         rows.fill(0);
///     }
/// }
/// ```
pub trait Placement: fmt::Debug + Send + Sync {
    /// Writes into each row the index of the backend that it leads to.
    ///
    /// There is at least one of `backends`, no more than rows, and they are sorted by their names, which differ; `rows`
    /// is as long as the table. The same backends must always get the same rows, and when one comes or goes, few of the
    /// others' should move. An index beyond `backends` makes [`plan`](super::Balancer::plan) fail; nothing is applied
    /// then.
    fn place(&self, backends: &[Candidate<'_>], rows: &mut [u16]);
}
