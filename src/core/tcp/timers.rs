//! A connection's timers: a fixed table, of which only the earliest deadline is anyone's business outside.

use crate::time::Instant;

/// What may fall due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Something sent was not acknowledged in time (RFC 6298).
    Retransmit,
    /// What was overtaken has had its time: it is lost (RFC 8985 §6.2 step 5).
    Reordering,
    /// Nothing was heard for a while: something may be lost behind which nothing was sent that could tell (RFC 8985 §7).
    TailProbe,
    /// The peer's window holds data back: ask whether it has opened (RFC 9293 §3.8.6.1).
    Persist,
    /// An acknowledgment has waited long enough for company (RFC 9293 §3.8.6.3).
    DelayedAck,
    /// The peer has not closed its side in time after the application closed ours.
    FinWait2,
    /// Something has been outstanding for longer than the application has patience (RFC 5482).
    User,
    /// Nothing has been heard for so long that the peer is asked whether it is there (RFC 9293 §3.8.4).
    KeepAlive,
}

impl Timer {
    /// All of them, in the order they are looked at: a timeout is the last resort.
    pub const ALL: [Self; 8] = [
        Self::Reordering,
        Self::TailProbe,
        Self::Retransmit,
        Self::Persist,
        Self::DelayedAck,
        Self::FinWait2,
        Self::User,
        Self::KeepAlive,
    ];
}

/// The deadlines of a connection's timers.
#[derive(Clone, Debug)]
pub struct Timers([Instant; Timer::ALL.len()]);

impl Default for Timers {
    fn default() -> Self {
        Self([Instant::NEVER; Timer::ALL.len()])
    }
}

impl Timers {
    /// Sets a deadline, replacing an earlier one.
    #[inline]
    pub fn arm(&mut self, timer: Timer, deadline: Instant) {
        self.0[timer as usize] = deadline;
    }

    /// Sets a deadline unless the timer runs already.
    #[inline]
    pub fn arm_if_idle(&mut self, timer: Timer, deadline: Instant) {
        if !self.is_armed(timer) {
            self.arm(timer, deadline);
        }
    }

    /// Stops a timer.
    #[inline]
    pub fn cancel(&mut self, timer: Timer) {
        self.0[timer as usize] = Instant::NEVER;
    }

    /// Whether a timer runs.
    #[inline]
    pub fn is_armed(&self, timer: Timer) -> bool {
        self.0[timer as usize] != Instant::NEVER
    }

    /// Whether no other timer runs.
    pub fn none_but(&self, timer: Timer) -> bool {
        Timer::ALL.into_iter().all(|other| other == timer || !self.is_armed(other))
    }

    /// When a timer falls due, if it runs.
    #[inline]
    pub fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.is_armed(timer).then_some(self.0[timer as usize])
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        let earliest = self.0.iter().fold(Instant::NEVER, |earliest, &deadline| earliest.min(deadline));
        (earliest != Instant::NEVER).then_some(earliest)
    }

    /// Stops and returns one timer that is due at `now`.
    pub fn expire(&mut self, now: Instant) -> Option<Timer> {
        let due = Timer::ALL.into_iter().find(|&timer| self.0[timer as usize] <= now)?;
        self.cancel(due);
        Some(due)
    }
}
