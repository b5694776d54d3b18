//! The units that this node holds of one meter: when it asks for more, and for how many.
//!
//! Requests spend units from the count, without a lock. Only a request that finds too few comes
//! here, and the one that takes the count below its low mark.

use std::{
    cell::Cell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    count::Count,
    counts::Counted,
    demand::Demand,
    gcra::{Full, Gcra},
    lease_log,
    meter::{Ask, DEADLINE, Grant, LeaseId, MeterId, MeterRule, Return},
    outage::Share,
    refiller::Refiller,
    rule::{Now, Rule},
    slice::{self, MOST_UNITS, Slice, SliceKind},
};
use crate::{clock::nanos, rejection::Reason};

/// What a count of leased units has beside its state.
pub(super) struct Leased {
    pub(super) meter: MeterId,
    pub(super) rule: MeterRule,
    /// The rule of the limit, for one process.
    pub(super) base: Rule,
    slice: Slice,
    pub(super) refiller: Arc<Refiller>,
    held: Mutex<Held>,
}

/// What a node holds of a meter, and what it waits for.
#[derive(Default)]
struct Held {
    demand: Demand,
    /// The units that are missing for requests that wait, and for the smallest of them.
    waiting: u64,
    least: u64,
    waiters: Vec<Waiter>,
    is_queued: bool,
    /// The ask that is not answered yet.
    flight: Option<Flight>,
    /// The open lease, and when it was opened.
    lease: Option<(LeaseId, u64)>,
    /// Whether to open a lease without units, so that units come back that belong to no lease.
    opens: bool,
    /// A rate: the slice after the present one.
    next: Option<u64>,
    /// What was charged without units.
    debt: u64,
    refused: Option<Refused>,
    share: Share,
    /// When the present period was seen first.
    period_since: u64,
    /// What was left at the store, and when.
    left: Option<(u64, u64)>,
    is_watched: bool,
    /// The state at the last look, and when it changed last.
    seen: (u64, u64),
}

struct Flight {
    ask: Ask,
    sent: u64,
    waiters: Vec<Waiter>,
}

/// Ends the wait of a request when it is dropped.
type Waiter = oneshot::Sender<()>;

/// The answer of the store that it has too few units.
#[derive(Clone, Copy)]
struct Refused {
    /// Fewer units than these may be there.
    amount: u64,
    /// When to ask again.
    until: u64,
    full: Full,
    since: u64,
}

/// What a request finds that had too few units.
pub(super) enum Prepared {
    /// There are enough now.
    Ready,
    /// More are asked for.
    Wait(oneshot::Receiver<()>),
    Full(Full),
    /// The store fails.
    Failed,
}

/// What becomes of a meter that is watched.
pub(super) enum Reaped {
    Keep,
    Forget,
    Return(Return),
}

// === impl Leased ===

impl Leased {
    pub(super) fn new(meter: MeterId, rule: MeterRule, base: Rule, slice: Slice, refiller: Arc<Refiller>) -> Self {
        Self { meter, rule, base, slice, refiller, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds units for a request that has found too few, or has more asked for.
    pub(super) fn prepare(&self, counted: &Arc<Counted>, cost: u64, now: Now) -> Prepared {
        let (count, now) = (&counted.count, now.monotonic);
        let mut held = self.held();
        let mut units = slice::units(count.state(), now);
        if units < cost
            && let Some(next) = held.next.take()
        {
            units = slice::units(next, now);
            count.set(|_| next);
        }
        if units >= cost {
            return Prepared::Ready;
        }
        let missing = cost.saturating_add(held.debt) - units;
        if let Some(full) = held.refusal(missing, now) {
            return Prepared::Full(full);
        }
        if let Some(since) = self.refiller.fails_since() {
            self.queue(counted, &mut held);
            return self.during_outage(&mut held, count, missing, now, since);
        }
        held.least = if held.waiting == 0 { missing } else { held.least.min(missing) };
        held.waiting = held.waiting.saturating_add(missing);
        let (waiter, wait) = oneshot::channel();
        held.waiters.push(waiter);
        if self.queue(counted, &mut held) { Prepared::Wait(wait) } else { Prepared::Failed }
    }

    /// Returns why a request of this cost is rejected, if the store has said so.
    pub(super) fn refusal(&self, count: &Count, cost: u64, now: Now) -> Option<Full> {
        let held = self.held();
        let units = slice::units(count.state(), now.monotonic);
        held.refusal(cost.saturating_add(held.debt).saturating_sub(units).max(1), now.monotonic)
    }

    fn during_outage(&self, held: &mut Held, count: &Count, missing: u64, now: u64, since: u64) -> Prepared {
        let MeterRule::Rate { increment, tolerance } = self.rule else { return Prepared::Failed };
        let admitted = held.share.admit(&self.refiller.settings, Gcra::of(increment, tolerance), missing, now, since);
        match admitted {
            None => Prepared::Failed,
            Some(Err(full)) => Prepared::Full(full),
            Some(Ok(())) => {
                let end = now.saturating_add(nanos(self.refiller.settings.lease));
                count.set(|state| slice::state(slice::units(state, now) + missing, Some(end), now));
                held.debt = 0;
                lease_log::admitted_in_outage(missing);
                Prepared::Ready
            }
        }
    }

    /// Asks for the units after the present ones. Waits for nothing.
    #[cold]
    pub(super) fn refill(&self, counted: &Arc<Counted>) {
        let mut held = self.held();
        counted.count.set_low(0);
        if held.next.is_none() && held.flight.is_none() {
            self.queue(counted, &mut held);
        }
    }

    fn queue(&self, counted: &Arc<Counted>, held: &mut Held) -> bool {
        if held.is_queued {
            return true;
        }
        held.is_queued = self.refiller.queue(counted);
        held.is_queued
    }

    /// Charges what is already done. What is missing is paid from the next units.
    pub(super) fn charge(&self, counted: &Arc<Counted>, cost: u64, now: Now) {
        let missing = Cell::new(0);
        counted.count.set(|state| {
            let paid = cost.min(slice::units(state, now.monotonic));
            missing.set(cost - paid);
            state - paid
        });
        if missing.get() > 0 {
            let mut held = self.held();
            let most = if self.slice.kind == SliceKind::Rate { self.slice.most } else { MOST_UNITS };
            held.debt = held.debt.saturating_add(missing.get()).min(most);
            self.queue(counted, &mut held);
        }
    }

    /// Gives back 1 that was charged at `at`. Returns how many nanoseconds of it are not given back.
    pub(super) fn give_back_one(&self, counted: &Arc<Counted>, at: Now) -> u64 {
        match self.rule {
            // Its slice may be over.
            MeterRule::Rate { increment, .. } => return increment,
            MeterRule::Quota { .. } if at.monotonic < self.held().period_since => return 0,
            MeterRule::Quota { .. } => counted.count.set(|state| slice::add(state, 1)),
            MeterRule::Credits(_) => {
                let now = self.refiller.now();
                counted.count.set(|state| self.slice.give_back(state, 0, now, 1));
            }
        }
        self.watch(counted);
        0
    }

    /// Sees to it that units come back which belong to no lease.
    pub(super) fn watch(&self, counted: &Arc<Counted>) {
        if self.slice.kind != SliceKind::Rate {
            self.watch_held(counted, &mut self.held());
        }
    }

    fn watch_held(&self, counted: &Arc<Counted>, held: &mut Held) {
        if !held.is_watched {
            held.is_watched = self.refiller.watch(counted);
        }
    }

    /// Returns what to ask the store now.
    pub(super) fn ask(&self, counted: &Arc<Counted>, sent: u64) -> Option<Ask> {
        let mut held = self.held();
        let held = &mut *held;
        held.is_queued = false;
        if let Some(flight) = &mut held.flight {
            flight.sent = sent;
            return Some(flight.ask.clone());
        }
        let is_rate = self.slice.kind == SliceKind::Rate;
        let units = slice::units(counted.count.state(), sent);
        let next = held.next.map_or(0, |next| slice::units(next, sent));
        let size = held.demand.size(units + next, sent, self.refiller.span());
        let ask = Ask {
            lease: (!is_rate).then(|| self.refiller.new_lease()),
            replaces: held.lease.map(|(lease, _)| lease),
            least: held.least,
            waiting: held.waiting.saturating_add(held.debt).min(MOST_UNITS),
            more: if held.opens || next > 0 {
                0
            } else if is_rate {
                size
            } else {
                size.saturating_sub(units)
            },
            deadline: DEADLINE,
            ..Ask::new(self.meter.clone(), self.rule)
        };
        if ask.waiting == 0 && ask.more == 0 && !held.opens {
            return None;
        }
        held.opens = false;
        (held.waiting, held.least) = (0, 0);
        held.flight = Some(Flight { ask: ask.clone(), sent, waiters: std::mem::take(&mut held.waiters) });
        Some(ask)
    }

    /// Takes what the store has granted.
    pub(super) fn answered(&self, counted: &Arc<Counted>, grant: &Grant, now: u64) {
        let mut held = self.held();
        let held = &mut *held;
        let Some(flight) = held.flight.take() else { return };
        let (count, ask) = (&counted.count, flight.ask);
        held.left = Some((grant.left, now));
        let paid = held.debt.min(grant.units);
        held.debt -= paid;
        self.add(held, count, grant.units - paid, flight.sent, grant.ends, now);
        if let Some(lease) = ask.lease {
            let is_open = grant.units > 0 || ask.waiting == 0 && ask.more == 0;
            held.lease = is_open.then_some((lease, now));
            self.watch_held(counted, held);
        }
        held.refused = (grant.units < ask.waiting).then(|| {
            let amount = if grant.units == 0 { ask.least.max(1) } else { 1 };
            let wait = grant.wait.map(nanos);
            let lease = nanos(self.refiller.settings.lease);
            let again = match self.rule {
                // Several units come at once, but no burst is missed.
                MeterRule::Rate { tolerance, .. } => wait.unwrap_or(lease).max((lease / 64).min(tolerance / 4)),
                MeterRule::Quota { .. } | MeterRule::Credits(_) => wait.unwrap_or(lease).min(lease),
            };
            Refused {
                amount,
                until: flight.sent.saturating_add(again),
                full: wait.map_or(Full::Forever, Full::For),
                since: flight.sent,
            }
        });
        let units = slice::units(count.state(), now) + held.next.map_or(0, |next| slice::units(next, now));
        held.demand.granted(units, now);
        let low = if grant.units > 0 && held.refused.is_none() { held.demand.low(self.refiller.span()) } else { 0 };
        count.set_low(low);
        if held.waiting > 0 || held.opens {
            self.queue(counted, held);
        }
    }

    /// Adds granted units to those that the node holds.
    fn add(&self, held: &mut Held, count: &Count, units: u64, sent: u64, ends: Option<Duration>, now: u64) {
        let end = match self.slice.kind {
            SliceKind::Rate => Some(sent.saturating_add(nanos(self.refiller.settings.lease))),
            SliceKind::Quota => Some(sent.saturating_add(ends.map_or(0, nanos))),
            SliceKind::Credits => None,
        };
        let fresh = slice::state(units, end, now);
        match self.slice.kind {
            SliceKind::Rate if units == 0 => {}
            SliceKind::Rate if slice::units(count.state(), now) > 0 => held.next = Some(fresh),
            SliceKind::Rate => count.set(|_| fresh),
            SliceKind::Quota => {
                if slice::is_over(count.state(), now) || !slice::is_same_period(count.state(), fresh) {
                    held.period_since = now;
                    count.set(|_| fresh);
                } else {
                    count.set(|state| slice::add(state, units));
                }
            }
            SliceKind::Credits => count.set(|state| self.slice.give_back(state, 0, now, units)),
        }
    }

    /// The store has failed. Requests do not wait longer. An ask with a lease is repeated, since the
    /// store may have granted it.
    pub(super) fn failed(&self, counted: &Arc<Counted>) {
        let mut held = self.held();
        held.waiters.clear();
        (held.waiting, held.least) = (0, 0);
        if let Some(flight) = &mut held.flight {
            flight.waiters.clear();
            if flight.ask.lease.is_none() {
                held.flight = None;
            }
        }
        self.queue(counted, &mut held);
    }

    /// Closes a lease that is not used any more, or all with `is_end`.
    pub(super) fn reap(&self, counted: &Arc<Counted>, now: u64, is_end: bool) -> Reaped {
        let mut held = self.held();
        if held.flight.is_some() {
            return Reaped::Keep;
        }
        let state = counted.count.state();
        if held.seen.0 != state {
            held.seen = (state, now);
        }
        let is_idle = is_end || now.saturating_sub(held.seen.1) >= nanos(self.refiller.settings.lease);
        let has_units = slice::units(state, now) > 0;
        match held.lease {
            Some((lease, _)) if is_idle => {
                let left = Cell::new(0);
                counted.count.set(|state| {
                    left.set(slice::units(state, now));
                    slice::emptied(state)
                });
                counted.count.set_low(0);
                held.lease = None;
                return Reaped::Return(Return::new(lease, self.meter.clone(), left.get()));
            }
            Some((_, opened)) if now.saturating_sub(opened) > nanos(DEADLINE) / 2 => {
                held.opens = true;
                self.queue(counted, &mut held);
            }
            None if has_units && is_idle => {
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

    /// Notes what is left at the store.
    pub(super) fn looked(&self, left: u64, now: u64) {
        self.held().left = Some((left, now));
    }

    /// Returns the reason of a rejection because the credits are used up.
    pub(super) fn exhausted(&self) -> Reason {
        if self.refiller.settings.payment_required { Reason::PaymentRequired } else { Reason::CreditsExhausted }
    }

    /// Returns after which time more requests may pass, if the store has said so.
    pub(super) fn more_after(&self, count: &Count, now: Now) -> Option<u64> {
        match self.refusal(count, 1, now)? {
            Full::For(wait) => Some(wait),
            _ => None,
        }
    }

    /// Returns when the limit is full again, in nanoseconds from now.
    pub(super) fn full_after(&self, remaining: u64, now: Now) -> Option<u64> {
        match self.rule {
            MeterRule::Rate { increment, .. } => {
                Some(self.slice.most.saturating_sub(remaining).saturating_mul(increment))
            }
            MeterRule::Quota { .. } => self.base.full_after(0, now),
            MeterRule::Credits(_) => None,
        }
    }

    /// Returns whether nothing would be lost without the count, except what the node knows.
    pub(super) fn is_fresh(&self, count: &Count, now: Now) -> bool {
        let (held, now) = (self.held(), now.monotonic);
        let next = held.next.map_or(0, |next| slice::units(next, now));
        held.debt == 0 && next == 0 && slice::units(count.state(), now) == 0
    }

    /// Returns about how many requests of cost 1 pass now, on all nodes together.
    pub(super) fn remaining(&self, count: &Count, now: u64) -> u64 {
        let held = self.held();
        let (left, at) = held.left.unwrap_or((self.slice.most, now));
        let refilled = match self.rule {
            MeterRule::Rate { increment, .. } => now.saturating_sub(at) / increment.max(1),
            MeterRule::Quota { .. } | MeterRule::Credits(_) => 0,
        };
        let own = slice::units(count.state(), now) + held.next.map_or(0, |next| slice::units(next, now));
        left.saturating_add(refilled).saturating_add(own).min(self.slice.most)
    }
}

impl Held {
    fn refusal(&self, missing: u64, now: u64) -> Option<Full> {
        let refused = self.refused.filter(|refused| now < refused.until && missing >= refused.amount)?;
        Some(match refused.full {
            Full::For(wait) => Full::For(refused.since.saturating_add(wait).saturating_sub(now)),
            full => full,
        })
    }
}
