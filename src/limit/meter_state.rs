//! What a store does with the state of one meter: numbers in, a verdict out.
//!
//! The stores in Rust keep this state in a row. The function in PostgreSQL does the same.

use std::time::Duration;

use super::{
    calendar::{DAY, Period},
    gcra::{Full, Gcra},
    meter::{Ask, Balance, Grant, MeterRule},
};

/// The state of one meter. Which fields count depends on the kind of its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MeterState {
    /// A rate: when its burst is full again, in nanoseconds since 1970.
    pub(crate) full_at: u64,
    /// A quota: the day that ends the present period, since 1970. Refilled credits: the day that
    /// ends the period of the last refill.
    pub(crate) period: u32,
    /// Refilled credits: the day of the last refill, since 1970. 0 before the first one.
    pub(crate) refilled: u32,
    /// A quota: what is used in the present period.
    pub(crate) used: u64,
    /// Credits. `leased` is the sum of all open leases.
    pub(crate) credits: Balance,
}

/// The highest balance.
const HIGHEST: u64 = 1 << 62;

const SECOND: u64 = 1_000_000_000;

impl MeterState {
    /// Grants what an ask asks for, at this time in nanoseconds since 1970.
    pub(crate) fn take(&mut self, ask: &Ask, now: u64) -> Grant {
        match ask.rule {
            MeterRule::Rate { increment, tolerance } => self.take_rate(ask, Gcra::of(increment, tolerance), now),
            MeterRule::Quota { most, period } => self.take_quota(ask, most, period, now),
            MeterRule::Credits(_) => self.take_credits(ask, now),
        }
    }

    fn take_rate(&mut self, ask: &Ask, rate: Gcra, now: u64) -> Grant {
        // A clock that went back would lock the rate for as long. Kept, also without a grant: else
        // each ask would find a used burst.
        self.full_at = rate.full_at(self.full_at, now);
        let full_at = self.full_at;
        let units = units(ask, rate.remaining(full_at, now), 1);
        if units > 0 {
            self.full_at = rate.charge_all(full_at, now, units);
        }
        granted_of_rate(ask, rate, rate.charge_all(full_at, now, units), now, units)
    }

    fn take_quota(&mut self, ask: &Ask, most: u64, period: Period, now: u64) -> Grant {
        let today = day(now);
        let is_present = today < self.period && self.period - today <= 2 * period.longest();
        let (end, used) = if is_present { (self.period, self.used) } else { (period.end(today), 0) };
        let units = if ask.lease.is_some() { units(ask, most.saturating_sub(used), 0) } else { 0 };
        if units > 0 {
            (self.period, self.used) = (end, used + units);
        }
        let ends = Duration::from_nanos(until(end, now));
        let wait = (units < ask.waiting && most > 0).then_some(ends);
        Grant { wait, ends: Some(ends), ..Grant::new(units, most.saturating_sub(used + units)) }
    }

    fn take_credits(&mut self, ask: &Ask, now: u64) -> Grant {
        self.refill_by(ask.rule, now);
        let units = if ask.lease.is_some() { units(ask, self.credits.available, 0) } else { 0 };
        self.credits.available -= units;
        self.credits.leased += units;
        let next = match ask.rule {
            MeterRule::Credits(Some(refill)) if units < ask.waiting => Some(refill.period.end(self.refilled)),
            _ => None,
        };
        let wait = next.map(|day| Duration::from_nanos(until(day, now)));
        Grant { wait, ..Grant::new(units, self.credits.available) }
    }

    /// Refills the balance as the rule of an ask says.
    pub(crate) fn refill_by(&mut self, rule: MeterRule, now: u64) {
        match rule {
            MeterRule::Credits(Some(refill)) => self.refill(refill, now),
            // A later refill is the first one again.
            MeterRule::Credits(None) if self.period <= day(now) => (self.period, self.refilled) = (0, 0),
            MeterRule::Credits(None) | MeterRule::Rate { .. } | MeterRule::Quota { .. } => {}
        }
    }

    /// Refills the balance, if a period of this refill has begun since the last one.
    fn refill(&mut self, refill: super::Refill, now: u64) {
        let (today, period) = (day(now), refill.period);
        if self.refilled > today.saturating_add(period.longest()) {
            // The clock was far ahead.
            self.refilled = today;
        }
        if self.refilled > 0 && period.end(self.refilled) > today {
            return;
        }
        // The refills of days without an ask come now: of those after the period of the last one.
        let (mut refills, mut next) = (0_u64, period.end(self.period.saturating_sub(1)));
        while self.refilled > 0 && next <= today {
            refills += 1;
            next = period.end(next);
        }
        (self.refilled, self.period) = (today, period.end(today));
        let credits = &mut self.credits;
        let amount = if refill.replaces {
            credits.expired += credits.available;
            credits.available = 0;
            refill.amount
        } else {
            refill.amount.saturating_mul(refills.max(1))
        };
        let amount = amount.min(HIGHEST.saturating_sub(credits.topped_up));
        credits.available += amount;
        credits.topped_up += amount;
    }

    /// Adds credits. Returns false, and adds none, if the balance would be above [`HIGHEST`].
    pub(crate) fn top_up(&mut self, amount: u64) -> bool {
        let fits = amount <= HIGHEST - self.credits.topped_up;
        if fits {
            self.credits.available += amount;
            self.credits.topped_up += amount;
        }
        fits
    }

    /// Puts back what is left of a lease of a quota, which was granted in the period with this end.
    pub(crate) fn give_back_quota(&mut self, period: u32, left: u64) {
        if period == self.period {
            self.used = self.used.saturating_sub(left);
        }
    }

    /// Closes a lease of credits. `is_over` says that a refill has replaced the balance since.
    /// Returns what has come back.
    pub(crate) fn close_credits(&mut self, granted: u64, left: u64, is_over: bool) -> u64 {
        let credits = &mut self.credits;
        credits.leased -= granted;
        credits.spent += granted.saturating_sub(left);
        let more = left.saturating_sub(granted);
        let of_spent = more.min(credits.spent);
        let of_lost = (more - of_spent).min(credits.lost);
        credits.spent -= of_spent;
        credits.lost -= of_lost;
        let back = left.min(granted) + of_spent + of_lost;
        if is_over {
            credits.expired += back;
        } else {
            credits.available += back;
        }
        back
    }

    /// Closes a lease of credits, and keeps what is left of it leased, unless it is over. Returns
    /// what is leased, and what is over.
    pub(crate) fn carry(&mut self, granted: u64, left: u64, is_over: bool) -> (u64, u64) {
        let back = self.close_credits(granted, left, is_over);
        if is_over {
            return (0, back);
        }
        self.credits.available -= back;
        self.credits.leased += back;
        (back, 0)
    }

    /// Returns the day that begins this long after a time in nanoseconds since 1970.
    pub(crate) fn day_after(now: u64, time: Duration) -> u32 {
        day(now.saturating_add(crate::clock::nanos(time)))
    }

    /// Takes back that a lease of credits was written off, except what has come back otherwise.
    /// Returns the rest.
    pub(crate) fn find(&mut self, granted: u64) -> u64 {
        let found = granted.min(self.credits.lost);
        self.credits.lost -= found;
        self.credits.leased += found;
        found
    }

    /// Writes off an open lease of credits.
    pub(crate) fn lose(&mut self, granted: u64) {
        self.credits.leased -= granted;
        self.credits.lost += granted;
    }
}

/// Returns the answer to an ask that has got so many units of a rate, whose burst is now full at
/// `full_at`.
pub(super) fn granted_of_rate(ask: &Ask, rate: Gcra, full_at: u64, now: u64, units: u64) -> Grant {
    let mut grant = Grant::new(units, rate.remaining(full_at, now));
    if units < ask.waiting {
        let next = if units == 0 { ask.least.max(1) } else { 1 };
        grant.wait = match rate.admit(full_at, now, next, next) {
            Ok(_) => Some(Duration::ZERO),
            Err(Full::For(wait)) => Some(Duration::from_nanos(wait)),
            Err(_) => None,
        };
    }
    grant
}

/// Returns how many units an ask gets. `fewest` is the smallest rest beside the waiting units.
fn units(ask: &Ask, available: u64, fewest: u64) -> u64 {
    if available < ask.least {
        return 0;
    }
    let waiting = available.min(ask.waiting);
    let rest = available - waiting;
    waiting + ask.more.min((rest / 16).max(fewest.min(rest)))
}

fn day(now: u64) -> u32 {
    u32::try_from(now / SECOND / DAY).unwrap_or(u32::MAX)
}

/// Returns the nanoseconds until a day begins.
fn until(day: u32, now: u64) -> u64 {
    u64::from(day).saturating_mul(DAY * SECOND).saturating_sub(now)
}
