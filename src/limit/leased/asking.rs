//! What a node asks the store for, and what it does with the answer.

use std::{sync::Arc, time::Duration};

use super::{Flight, Held, Leased, Refused};
use crate::{
    clock::nanos,
    limit::{
        count::Count,
        counts::Counted,
        gcra::Full,
        meter::{Ask, DEADLINE, Grant, MeterRule},
        slice::{self, MOST_UNITS, SliceKind},
    },
};

impl Leased {
    /// Returns what to ask the store now.
    pub(in crate::limit) fn ask(&self, counted: &Arc<Counted>, sent: u64) -> Option<Ask> {
        let mut held = self.held();
        let held = &mut *held;
        held.is_queued = false;
        if let Some(flight) = &mut held.flight {
            flight.sent = sent;
            flight.ask.is_first = false;
            return Some(flight.ask.clone());
        }
        let is_rate = self.slice.kind == SliceKind::Rate;
        self.forgive(held, &counted.count, sent);
        // Those that were dropped wait for nothing.
        held.waiters.retain(|waiter| !waiter.wake.is_closed());
        let waiting: u64 = held.waiters.iter().map(|waiter| waiter.missing).fold(0, u64::saturating_add);
        let least = held.waiters.iter().map(|waiter| waiter.missing).min().unwrap_or(0);
        let units = slice::units(counted.count.state(), sent);
        let next = held.next.map_or(0, |next| slice::units(next, sent));
        let size = held.demand.size(units + next, waiting, sent, self.refiller.span());
        let waiting = waiting.saturating_add(held.debt).min(MOST_UNITS - units);
        let more = match self.slice.kind {
            _ if held.opens || next > 0 => 0,
            SliceKind::Rate if self.is_scarce(held, sent) => 0,
            SliceKind::Rate => size,
            SliceKind::Quota | SliceKind::Credits => size.saturating_sub(units),
        };
        let ask = Ask {
            lease: (!is_rate).then(|| self.refiller.new_lease()),
            replaces: held.lease.map(|(lease, _)| lease),
            carried: if held.lease.is_some() { units } else { 0 },
            // A debt is paid in parts.
            least: if held.debt > 0 { 0 } else { least },
            waiting,
            more: more.min(MOST_UNITS - units - waiting),
            is_first: true,
            deadline: DEADLINE,
            ..Ask::new(self.meter.clone(), self.rule)
        };
        if ask.waiting == 0 && ask.more == 0 && !held.opens {
            return None;
        }
        held.opens = false;
        held.flight = Some(Flight { ask: ask.clone(), sent, waiters: std::mem::take(&mut held.waiters) });
        Some(ask)
    }

    /// Returns whether units of a rate for which no request waits would be missed: the store has
    /// less than half of the burst, and they would end unused, as the last ones came longer ago
    /// than they last. A store that fails is asked, to see whether it works again.
    fn is_scarce(&self, held: &Held, now: u64) -> bool {
        let lease = nanos(self.refiller.settings.lease);
        self.refiller.fails_since().is_none()
            && held.demand.is_from_before(now.saturating_sub(lease))
            && self.left_at_store(held, now) < self.slice.most / 2
    }

    /// Takes what the store has granted.
    pub(in crate::limit) fn answered(&self, counted: &Arc<Counted>, grant: &Grant, now: u64) {
        let mut held = self.held();
        let held = &mut *held;
        let Some(flight) = held.flight.take() else { return };
        let (count, ask) = (&counted.count, &flight.ask);
        held.left = Some((grant.left, now));
        // What a refill has replaced is over, except what was spent meanwhile.
        count.set(|state| state - grant.expired.min(slice::units(state, now)));
        let paid = held.debt.min(grant.units);
        held.debt -= paid;
        self.add(held, count, grant.units - paid, &flight, grant.ends, now);
        if let Some(lease) = ask.lease {
            let is_open = grant.units > 0 || ask.carried > 0 || ask.waiting == 0 && ask.more == 0;
            held.lease = is_open.then_some((lease, now));
            self.watch_held(counted, held);
        }
        if grant.units < ask.waiting {
            held.refused_at = now;
        }
        held.refused = (grant.units < ask.waiting).then(|| {
            let amount = if grant.units == 0 { ask.least.max(1) } else { 1 };
            let wait = grant.wait.map(nanos);
            let lease = nanos(self.refiller.settings.lease);
            let again = match self.rule {
                // Several units come at once, with one call a tick, but no burst is missed.
                MeterRule::Rate { tolerance, .. } => {
                    wait.unwrap_or(lease).max(nanos(self.refiller.tick()).min(tolerance / 4)).min(lease)
                }
                MeterRule::Quota { .. } | MeterRule::Credits(_) => wait.unwrap_or(lease).min(lease),
            };
            Refused {
                amount,
                // From now on: a slow answer would be over as it comes.
                until: now.saturating_add(again),
                full: wait.map_or(Full::Forever, Full::For),
                since: now,
            }
        });
        let units = slice::units(count.state(), now) + held.next.map_or(0, |next| slice::units(next, now));
        held.demand.granted(units, now);
        let asks_ahead = ask.more > 0 || held.next.is_some() || self.slice.kind != SliceKind::Rate;
        let low = if grant.units > 0 && held.refused.is_none() && asks_ahead {
            held.demand.low(self.refiller.span())
        } else {
            0
        };
        count.set_low(low);
        let has_debt = held.debt > 0 && held.refused.is_none();
        if !held.waiters.is_empty() || held.opens || has_debt {
            self.queue(counted, held);
        }
    }

    /// Ends the debt of a rate that would have filled up again by now, and that of a quota with its
    /// period.
    fn forgive(&self, held: &mut Held, count: &Count, now: u64) {
        let is_over = match self.rule {
            MeterRule::Rate { increment, .. } => {
                held.debt.saturating_mul(increment) <= now.saturating_sub(held.debt_since)
            }
            MeterRule::Quota { .. } => slice::is_over(count.state(), now),
            MeterRule::Credits(_) => false,
        };
        if is_over {
            held.debt = 0;
        }
    }

    /// Adds granted units to those that the node holds.
    fn add(&self, held: &mut Held, count: &Count, units: u64, flight: &Flight, ends: Option<Duration>, now: u64) {
        let (sent, waited) = (flight.sent, flight.ask.waiting > 0);
        let end = match self.slice.kind {
            SliceKind::Rate => Some(sent.saturating_add(nanos(self.refiller.settings.lease))),
            SliceKind::Quota => Some(sent.saturating_add(ends.map_or(0, nanos))),
            SliceKind::Credits => None,
        };
        let fresh = slice::state(units, end, now);
        match self.slice.kind {
            SliceKind::Rate if units == 0 => {}
            // Requests that wait need them beside those that are here, and no others are lost.
            SliceKind::Rate if waited && slice::units(count.state(), now) > 0 => {
                count.set(|state| slice::add_or(state, fresh, now));
            }
            SliceKind::Rate if slice::units(count.state(), now) > 0 => held.next = Some(fresh),
            SliceKind::Rate => {
                held.since = now;
                count.set(|_| fresh);
            }
            SliceKind::Quota => {
                if slice::is_over(count.state(), now) || !slice::is_same_period(count.state(), fresh) {
                    held.since = now;
                    count.set(|_| fresh);
                } else {
                    count.set(|state| slice::add(state, units));
                }
            }
            SliceKind::Credits => held.spare += self.put_back(count, 0, now, units),
        }
    }

    /// The store has failed. Requests do not wait longer. An ask with a lease is repeated, since
    /// the store may have granted it.
    pub(in crate::limit) fn failed(&self, counted: &Arc<Counted>) {
        let mut held = self.held();
        held.waiters.clear();
        if let Some(flight) = &mut held.flight {
            flight.waiters.clear();
            if flight.ask.lease.is_none() {
                held.flight = None;
            }
        }
        self.queue(counted, &mut held);
    }
}
