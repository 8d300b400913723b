//! One row of a table: 64 bits, which one load reads and one store writes.
//!
//! ```text
//!     63              48 47 46                 32 31              16 15               0
//!    +------------------+--+---------------------+------------------+------------------+
//!    | heard (tick)     |W | second              | before           | now              |
//!    +------------------+--+---------------------+------------------+------------------+
//! ```

use super::{backend::Number, time_window::Tick};

/// Which backends a row leads to. `None` is the number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Where new flows go.
    pub now: Option<Number>,
    /// Where flows go that are not remembered, while any of them speaks.
    pub before: Option<Number>,
    /// Where new flows go while `now` is down.
    pub second: Option<Number>,
    /// When `before` began to be another than `now`, or one of its flows last spoke.
    pub heard: Tick,
    /// Whether a flow may be remembered that is placed by this row: where it says no, nobody needs to look.
    pub watched: bool,
}

const WATCHED: u16 = 1 << 15;

impl Row {
    /// The row as it is kept, in native order.
    pub fn to_bits(self) -> u64 {
        let number = |it: Option<Number>| it.map_or(0, Number::get);
        let second = number(self.second) | if self.watched { WATCHED } else { 0 };
        let halves = [number(self.now), number(self.before), second, self.heard.get()];
        halves.into_iter().rev().fold(0, |bits, half| bits << 16 | u64::from(half))
    }

    /// The row that is kept so.
    pub fn from_bits(bits: u64) -> Self {
        let half = |index: u32| (bits >> (16 * index)) as u16;
        Self {
            now: Number::new(half(0)),
            before: Number::new(half(1)),
            second: Number::new(half(2) & !WATCHED),
            heard: Tick::new(half(3)),
            watched: half(2) & WATCHED != 0,
        }
    }

    /// Whether flows of an older generation may be left: one was heard within the window, or the change is no longer
    /// ago.
    pub fn is_in_transition(self, tick: Tick, silence: u16) -> bool {
        self.before.is_some() && !tick.is_beyond(self.heard, silence)
    }

    /// Where a flow goes that is not remembered: the row's home, which stays the same as long as one of them speaks.
    pub fn home(self, tick: Tick, silence: u16) -> Option<Number> {
        if self.is_in_transition(tick, silence) { self.before } else { self.now }
    }

    /// The row once new flows go to `now`. Its home stays, if it still `is_kept`; if it does not, it is forgotten at
    /// once, and then those flows are at home that were the new ones until today, though each of them is remembered,
    /// too.
    #[must_use]
    pub fn changed(
        self,
        (now, second): (Option<Number>, Option<Number>),
        tick: Tick,
        silence: u16,
        is_kept: impl Fn(Number) -> bool,
    ) -> Self {
        let home = self.home(tick, silence).filter(|&home| is_kept(home));
        let home = home.or_else(|| self.now.filter(|&now| is_kept(now)));
        let before = home.filter(|&home| Some(home) != now);
        let goes_on = before.is_some() && before == self.before;
        Self {
            now,
            before,
            second,
            heard: if goes_on { self.heard } else { tick },
            watched: self.watched || before.is_some(),
        }
    }
}
