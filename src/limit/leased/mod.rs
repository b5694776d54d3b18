//! The units that this node holds of one meter: when it asks for more, and for how many.
//!
//! Requests spend units from the count, without a lock. Only a request that finds too few comes
//! here, and the one that takes the count below its low mark.

mod asking;
mod closing;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{
    count::Count,
    counts::Counted,
    demand::Demand,
    gcra::{Full, Gcra},
    lease_log,
    meter::{Ask, LeaseId, MeterId, MeterRule, Return},
    outage::{AHEAD, Share},
    refiller::Refiller,
    rule::{Now, Rule},
    slice::{self, Slice, SliceKind},
};
use crate::clock::nanos;

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
    /// What was charged without units, and when.
    debt: u64,
    debt_since: u64,
    /// Credits that came back and do not fit beside the others.
    spare: u64,
    refused: Option<Refused>,
    /// When the store had too few units the last time.
    refused_at: u64,
    share: Share,
    /// When the present slice of a rate, or the present period of a quota, was seen first.
    since: u64,
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

/// A request that waits, and the units that it lacks.
struct Waiter {
    /// Ends the wait when it is dropped.
    wake: oneshot::Sender<()>,
    missing: u64,
}

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
            let fresh = slice::units(next, now);
            if units > 0 && fresh < cost {
                count.set(|state| slice::add_or(state, next, now));
                units += fresh;
            } else {
                count.set(|_| next);
                units = fresh;
                held.since = now;
            }
            let low = held.demand.low(self.refiller.span());
            count.set_low(low);
            if units < low {
                self.queue(counted, &mut held);
            }
        }
        if units >= cost {
            return Prepared::Ready;
        }
        let missing = cost - units;
        if let Some(full) = held.why_full(missing, now) {
            return Prepared::Full(full);
        }
        let outage = self.refiller.fails_since();
        let (wake, wait) = oneshot::channel();
        if outage.is_none() {
            held.waiters.push(Waiter { wake, missing });
        }
        if !self.queue(counted, &mut held) {
            return Prepared::Failed;
        }
        match outage {
            Some(since) => self.during_outage(&mut held, count, missing, now, since),
            None => Prepared::Wait(wait),
        }
    }

    /// Returns why a request of this cost is rejected, if the store has said so.
    pub(super) fn why_full(&self, count: &Count, cost: u64, now: Now) -> Option<Full> {
        let held = self.held();
        let units = slice::units(count.state(), now.monotonic);
        held.why_full(cost.saturating_sub(units).max(1), now.monotonic)
    }

    fn during_outage(&self, held: &mut Held, count: &Count, missing: u64, now: u64, since: u64) -> Prepared {
        let MeterRule::Rate { increment, tolerance } = self.rule else { return Prepared::Failed };
        let admitted = held.share.admit(&self.refiller.settings, Gcra::of(increment, tolerance), missing, now, since);
        match admitted {
            // What is too much for a share may pass later.
            None | Some(Err(Full::Forever)) => Prepared::Failed,
            Some(Err(full)) => Prepared::Full(full),
            Some(Ok(units)) => {
                let fresh = slice::state(units, Some(now.saturating_add(AHEAD)), now);
                if slice::units(count.state(), now) == 0 {
                    held.since = now;
                }
                count.set(|state| slice::add_or(state, fresh, now));
                lease_log::admitted_in_outage(units);
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

    /// Sees to it that the store is asked: at once if requests wait, or will soon. Returns whether
    /// a task does it: without a runtime there is none.
    fn queue(&self, counted: &Arc<Counted>, held: &mut Held) -> bool {
        let added = (!held.is_queued).then_some(counted);
        let (refiller, now) = (&self.refiller, self.refiller.now());
        let is_urgent = !held.waiters.is_empty() || held.demand.is_urgent(refiller.tick(), now);
        let is_running = refiller.queue(added, is_urgent && !self.is_over_rate(held, now));
        held.is_queued |= is_running;
        is_running
    }

    /// Returns whether more requests came in the last lease than a rate admits. Then they wait for
    /// the next tick, so that they do not cause a call each.
    fn is_over_rate(&self, held: &Held, now: u64) -> bool {
        let since = now.saturating_sub(nanos(self.refiller.settings.lease));
        self.slice.kind == SliceKind::Rate && held.refused_at > since
    }

    /// Asks with the next call.
    pub(super) fn ask_later(&self, counted: &Arc<Counted>) {
        self.queue(counted, &mut self.held());
    }
}

impl Held {
    fn why_full(&self, missing: u64, now: u64) -> Option<Full> {
        let refused = self.refused.filter(|refused| now < refused.until && missing >= refused.amount)?;
        Some(match refused.full {
            Full::For(wait) => Full::For(refused.since.saturating_add(wait).saturating_sub(now)),
            full => full,
        })
    }
}
