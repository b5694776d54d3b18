//! What is spent without units, what comes back, and how leases end.

use std::{cell::Cell, sync::Arc};

use super::{Held, Leased, Reaped};
use crate::{
    clock::nanos,
    limit::{
        count::Count,
        counts::Counted,
        gcra::LEASE,
        meter::{DEADLINE, MeterRule, Return},
        rule::Now,
        slice::{self, MOST_UNITS, SliceKind},
    },
};

impl Leased {
    /// Charges what is already done. What is missing is paid from the next units.
    pub(in crate::limit) fn charge(&self, counted: &Arc<Counted>, cost: u64, now: Now) {
        let missing = Cell::new(0);
        counted.count.set(|state| {
            let paid = cost.min(slice::units(state, now.monotonic));
            missing.set(cost - paid);
            state - paid
        });
        if missing.get() > 0 {
            let mut held = self.held();
            held.debt = held.debt.saturating_add(missing.get()).min(self.slice.most);
            held.debt_since = now.monotonic;
            self.queue(counted, &mut held);
        }
    }

    /// Gives back `cost` of a charge. `receipt` is the state after the charge.
    pub(in crate::limit) fn give_back(&self, counted: &Arc<Counted>, receipt: u64, now: Now, cost: u64) {
        let too_many = self.put_back(&counted.count, receipt, now.monotonic, cost);
        if self.slice.kind == SliceKind::Credits {
            self.held().spare += too_many;
        }
        self.watch(counted);
    }

    /// Adds units to the state. Returns those that do not fit.
    pub(super) fn put_back(&self, count: &Count, receipt: u64, now: u64, units: u64) -> u64 {
        let too_many = Cell::new(0);
        count.set(|state| {
            too_many.set((slice::units(state, now) + units).saturating_sub(MOST_UNITS));
            self.slice.give_back(state, receipt, now, units)
        });
        too_many.get()
    }

    /// Gives back 1 that was charged at `at`. Returns how many nanoseconds of it are not given
    /// back.
    pub(in crate::limit) fn give_back_one(&self, counted: &Arc<Counted>, at: Now) -> u64 {
        match self.rule {
            MeterRule::Rate { increment, .. } => {
                // A thread may have taken it earlier.
                let is_of_slice = at.monotonic.saturating_sub(LEASE) >= self.held().since;
                let now = self.refiller.now();
                if is_of_slice && !slice::is_over(counted.count.state(), now) {
                    counted.count.set(|state| slice::add(state, 1));
                    return 0;
                }
                return increment;
            }
            MeterRule::Quota { .. } if at.monotonic < self.held().since => return 0,
            MeterRule::Quota { .. } => counted.count.set(|state| slice::add(state, 1)),
            MeterRule::Credits(_) => {
                let too_many = self.put_back(&counted.count, 0, self.refiller.now(), 1);
                self.held().spare += too_many;
            }
        }
        self.watch(counted);
        0
    }

    /// Sees to it that units come back which belong to no lease.
    pub(in crate::limit) fn watch(&self, counted: &Arc<Counted>) {
        if self.slice.kind != SliceKind::Rate {
            self.watch_held(counted, &mut self.held());
        }
    }

    pub(super) fn watch_held(&self, counted: &Arc<Counted>, held: &mut Held) {
        if !held.is_watched {
            held.is_watched = self.refiller.watch(counted);
        }
    }

    /// Closes a lease that is not used any more, or of which far more is here than is used; or all,
    /// with `is_end`.
    pub(in crate::limit) fn reap(&self, counted: &Arc<Counted>, now: u64, is_end: bool) -> Reaped {
        let mut held = self.held();
        if held.flight.is_some() {
            // No call is under way now: repeat it.
            self.queue(counted, &mut held);
            return Reaped::Keep;
        }
        let state = counted.count.state();
        if held.seen.0 != state {
            held.seen = (state, now);
        }
        let is_idle = is_end || now.saturating_sub(held.seen.1) >= nanos(self.refiller.settings.lease);
        let units = slice::units(state, now).saturating_add(held.spare);
        let has_units = units > 0;
        match held.lease {
            Some((lease, _)) if is_idle || held.demand.is_far_below(units) => {
                let left = Cell::new(0);
                counted.count.set(|state| {
                    left.set(slice::units(state, now));
                    slice::emptied(state)
                });
                counted.count.set_low(0);
                held.lease = None;
                let left = left.get().saturating_add(std::mem::take(&mut held.spare));
                return Reaped::Return(Return::new(lease, self.meter.clone(), left));
            }
            Some((_, opened)) if now.saturating_sub(opened) > nanos(DEADLINE) / 2 => {
                held.opens = true;
                self.queue(counted, &mut held);
            }
            None if has_units && (is_idle || held.demand.is_far_below(units)) => {
                held.opens = true;
                self.queue(counted, &mut held);
            }
            None if !has_units => {
                held.is_watched = false;
                return Reaped::Forget;
            }
            _ => {}
        }
        Reaped::Keep
    }
}
