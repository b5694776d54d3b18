//! A store of meters in memory with one mistake, written apart from the stores of the library.

use std::{
    collections::HashMap,
    io,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use tower_api_key::limit::{
    Ask, Balance, Grant, LeaseId, MeterId, MeterRule, MeterStore, Period, Return, TopUp, TopUpId,
};

use super::meter_mistakes::MeterMistake;

#[derive(Clone, Default)]
struct State {
    meters: HashMap<MeterId, Meter>,
    leases: HashMap<LeaseId, Lease>,
    top_ups: HashMap<(MeterId, String), u64>,
}

#[derive(Clone, Default)]
struct Meter {
    full_at: u128,
    period: Option<Period>,
    used: u64,
    refilled: Option<Period>,
    credits: [u64; 6],
}

const AVAILABLE: usize = 0;
const LEASED: usize = 1;
const SPENT: usize = 2;
const LOST: usize = 3;
const EXPIRED: usize = 4;
const TOPPED_UP: usize = 5;

#[derive(Clone)]
struct Lease {
    meter: MeterId,
    period: Option<Period>,
    granted: u64,
    is_open: bool,
    is_lost: bool,
    until: u128,
}

pub(super) struct WrongMeters {
    state: Mutex<State>,
    mistake: MeterMistake,
}

fn now() -> u128 {
    #[allow(clippy::disallowed_methods, reason = "a store has a clock")]
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()
}

fn until(period: Period, now: u128) -> Duration {
    const DAY: u128 = 86_400_000_000_000;
    let end = period.end(u32::try_from(now / DAY).unwrap());
    Duration::from_nanos(u64::try_from(u128::from(end) * DAY - now).unwrap())
}

fn balance(credits: [u64; 6]) -> Balance {
    let mut balance = Balance::default();
    [balance.available, balance.leased, balance.spent, balance.lost, balance.expired, balance.topped_up] = credits;
    balance
}

impl WrongMeters {
    pub(super) fn new(mistake: MeterMistake) -> Self {
        Self { state: Mutex::default(), mistake }
    }

    fn is(&self, mistake: MeterMistake) -> bool {
        self.mistake == mistake
    }

    /// Changes the state in one step, unless that is the mistake.
    async fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        if !self.is(MeterMistake::Races) {
            return change(&mut self.state.lock().unwrap());
        }
        let mut copy = self.state.lock().unwrap().clone();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let done = change(&mut copy);
        *self.state.lock().unwrap() = copy;
        done
    }

    fn units(&self, ask: &Ask, available: u64, fewest: u64) -> u64 {
        use MeterMistake::{BelowTheLeast, NoRestOfARate, NoSixteenth, RestOfAll};
        if available < ask.least && !self.is(BelowTheLeast) {
            return 0;
        }
        let waiting = available.min(ask.waiting);
        let rest = available - waiting;
        let fewest = if self.is(NoRestOfARate) { 0 } else { fewest.min(rest) };
        let part = match self.mistake {
            NoSixteenth => rest / 8,
            RestOfAll => (rest / 16).max(1.min(rest)),
            _ => (rest / 16).max(fewest),
        };
        waiting + ask.more.min(part)
    }

    fn take_rate(&self, meter: &mut Meter, ask: &Ask, increment: u64, tolerance: u64, now: u128) -> Grant {
        let (increment, tolerance) = (u128::from(increment), u128::from(tolerance));
        let now = match self.mistake {
            MeterMistake::NeverFills => now - now % 1_000_000_000_000_000_000,
            MeterMistake::FillsTooFast => now * 50,
            _ => now,
        };
        let left = |full_at: u128| tolerance.saturating_sub(full_at.saturating_sub(now)) / increment;
        let units = self.units(ask, u64::try_from(left(meter.full_at)).unwrap(), 1);
        let full_at = meter.full_at.max(now) + increment * u128::from(units);
        if units > 0 {
            meter.full_at = full_at;
        }
        let mut grant = Grant::new(units, u64::try_from(left(full_at)).unwrap());
        let next = if units == 0 { ask.least.max(1) } else { 1 };
        if units < ask.waiting && increment * u128::from(next) <= tolerance {
            let wait = (full_at + increment * u128::from(next)).saturating_sub(now + tolerance);
            grant.wait = Some(Duration::from_nanos(u64::try_from(wait).unwrap()));
        }
        grant
    }

    /// Closes the lease that an ask replaces. Returns what of it becomes a part of the new one.
    fn replace(&self, state: &mut State, meter: &mut Meter, ask: &Ask) -> u64 {
        use MeterMistake::*;
        let is_credits = matches!(ask.rule, MeterRule::Credits(_));
        let is_new = ask.lease.is_some_and(|id| !state.leases.contains_key(&id));
        let left = if is_new && !self.is(CarriedIsSpent) { ask.carried } else { 0 };
        let mut carried = 0;
        let replaced = ask.replaces.and_then(|id| state.leases.get_mut(&id));
        if let Some(lease) = replaced.filter(|lease| lease.is_open && !self.is(ReplacedStaysOpen)) {
            lease.is_open = false;
            if is_credits && self.is(ReplacedComesBack) {
                meter.credits[LEASED] -= lease.granted;
                meter.credits[AVAILABLE] += lease.granted;
            } else if is_credits {
                let credits = &mut meter.credits;
                credits[SPENT] += lease.granted.saturating_sub(left);
                let of_spent = left.saturating_sub(lease.granted).min(credits[SPENT]);
                credits[SPENT] -= of_spent;
                carried = left.min(lease.granted) + of_spent;
                let beyond = if self.is(CarriedWithoutEnd) { left - carried } else { 0 };
                (credits[TOPPED_UP], carried) = (credits[TOPPED_UP] + beyond, carried + beyond);
                credits[LEASED] = credits[LEASED] - lease.granted + carried;
            } else if self.is(ReplacedComesBack) {
                meter.used -= lease.granted;
            }
        }
        carried
    }

    fn take_one(&self, state: &mut State, ask: &Ask) -> Grant {
        use MeterMistake::*;
        let now = now();
        let is_look = ask.lease.is_none() && ask.replaces.is_none();
        let mut meter = state.meters.get(&ask.meter).cloned().unwrap_or_default();
        if let MeterRule::Rate { increment, tolerance } = ask.rule {
            let mut grant = self.take_rate(&mut meter, ask, increment, tolerance, now);
            if self.is(LookTakes) && ask.waiting + ask.more == 0 {
                meter.full_at = meter.full_at.max(now) + u128::from(increment);
                grant.left = grant.left.saturating_sub(1);
            }
            state.meters.insert(ask.meter.clone(), meter);
            return grant;
        }
        let is_credits = matches!(ask.rule, MeterRule::Credits(_));
        let carried = self.replace(state, &mut meter, ask);
        let mut lost = 0;
        for lease in state.leases.values_mut().filter(|lease| is_credits && !is_look && lease.meter == ask.meter) {
            let is_over = (lease.until <= now || self.is(LostAtOnce)) && !self.is(NeverLost);
            if lease.is_open && is_over {
                (lease.is_open, lease.is_lost) = (false, true);
                lost += lease.granted;
            }
        }
        meter.credits[LEASED] -= lost;
        meter.credits[LOST] += lost;
        let (available, end) = match ask.rule {
            MeterRule::Quota { most, period } => {
                if meter.period != Some(period) {
                    (meter.period, meter.used) = (Some(period), 0);
                }
                (most.saturating_sub(meter.used), Some(until(period, now)))
            }
            MeterRule::Credits(Some(refill)) => {
                let is_another = meter.refilled != Some(refill.period()) && self.is(RefilledForEachPeriod);
                if meter.refilled.is_none() || is_another || self.is(RefilledTwice) {
                    if refill.is_replacing() && !self.is(ReplacesNothing) {
                        meter.credits[EXPIRED] += if self.is(ExpiresUnsaid) { 0 } else { meter.credits[AVAILABLE] };
                        meter.credits[AVAILABLE] = 0;
                    }
                    meter.refilled = Some(refill.period());
                    meter.credits[AVAILABLE] += refill.amount();
                    meter.credits[TOPPED_UP] += refill.amount();
                }
                (meter.credits[AVAILABLE], Some(until(refill.period(), now)))
            }
            _ => {
                meter.refilled = meter.refilled.filter(|_| !self.is(RefilledAfterAnotherPlan));
                (meter.credits[AVAILABLE], None)
            }
        };
        let known = ask.lease.and_then(|id| state.leases.get(&id)).cloned();
        let known = known.filter(|known| !(self.is(RepeatTakes) && known.is_open));
        let known = known.filter(|known| known.is_open || known.is_lost || !self.is(RepeatAfterClose));
        let new = if known.is_some() || (ask.lease.is_none() && !self.is(WithoutLease)) {
            0
        } else {
            self.units(ask, available, 0)
        };
        let is_empty = ask.waiting + ask.more == 0 && !self.is(EmptyLeaseForgotten) || ask.carried > 0;
        let is_open = new > 0 || is_empty || self.is(RefusedLeaseKept);
        if let (None, Some(id)) = (&known, ask.lease)
            && (is_open || !self.is(LateTakes))
        {
            let until = now + ask.deadline.as_nanos();
            let (period, meter) = (meter.period, ask.meter.clone());
            state.leases.insert(id, Lease { meter, period, granted: new + carried, is_open, is_lost: false, until });
        }
        if is_credits {
            meter.credits[AVAILABLE] -= new;
            meter.credits[LEASED] += new;
        } else {
            meter.used += new;
        }
        let beside = if self.is(CarriedTwice) { 0 } else { ask.carried };
        let granted = known.map_or(new, |known| {
            let is_open = known.is_open && !self.is(RepeatGetsNothing);
            if is_open { known.granted.saturating_sub(beside) } else { 0 }
        });
        if !is_look || self.is(LookRefills) {
            state.meters.insert(ask.meter.clone(), meter);
        }
        let mut grant = Grant::new(granted, available - new);
        grant.ends = end.filter(|_| !is_credits && !self.is(NoEnd));
        let can_wait = self.is(WaitOfNothing) || !matches!(ask.rule, MeterRule::Quota { most: 0, .. });
        grant.wait = end.filter(|_| granted < ask.waiting && can_wait);
        grant.lost = if self.is(LostUnsaid) { 0 } else { lost };
        grant
    }

    fn close(&self, state: &mut State, done: &Return) {
        use MeterMistake::*;
        let Some(lease) = state.leases.get_mut(&done.lease) else { return };
        let meter = if self.is(OfAnyMeter) { lease.meter.clone() } else { done.meter.clone() };
        let is_quota = lease.period.is_some();
        let is_open = lease.is_open
            || (lease.is_lost && !self.is(LostStaysLost))
            || (self.is(QuotaComesBackTwice) && is_quota)
            || (self.is(ClosedTwice) && !is_quota && !lease.is_lost);
        if !is_open || meter != lease.meter {
            return;
        }
        let was_lost = std::mem::take(&mut lease.is_lost);
        let (was_open, granted) = (std::mem::take(&mut lease.is_open) || was_lost, lease.granted);
        let period = lease.period;
        let Some(meter) = state.meters.get_mut(&meter) else { return };
        if period.is_some() {
            if meter.period == period || self.is(QuotaComesBackLater) {
                meter.used = meter.used.saturating_sub(done.left);
            }
            return;
        }
        let credits = &mut meter.credits;
        if !was_open {
            let from = if credits[LOST] > 0 { LOST } else { SPENT };
            let back = done.left.min(credits[from]);
            credits[from] -= back;
            credits[AVAILABLE] += back;
            return;
        }
        credits[if was_lost { LOST } else { LEASED }] -= granted;
        credits[SPENT] += granted.saturating_sub(done.left);
        let more = if self.is(MoreIsIgnored) { 0 } else { done.left.saturating_sub(granted) };
        let of_spent = more.min(credits[SPENT]);
        let of_lost = if self.is(MoreIsNotLost) { 0 } else { (more - of_spent).min(credits[LOST]) };
        credits[SPENT] -= of_spent;
        credits[LOST] -= of_lost;
        credits[AVAILABLE] += done.left.min(granted) + of_spent + of_lost;
        if self.is(MoreWithoutEnd) && more > of_spent + of_lost {
            credits[AVAILABLE] += 1;
            credits[TOPPED_UP] += 1;
        }
    }
}

impl MeterStore for WrongMeters {
    type Error = io::Error;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, io::Error> {
        self.change(|state| {
            let mut order: Vec<_> = asks.iter().collect();
            if self.is(MeterMistake::OrderOfMeters) {
                order.sort_by_key(|ask| ask.meter.clone());
            }
            Ok(order.into_iter().map(|ask| self.take_one(state, ask)).collect())
        })
        .await
    }

    async fn give_back(&self, returns: &[Return]) -> Result<(), io::Error> {
        self.change(|state| {
            for done in returns {
                self.close(state, done);
            }
            Ok(())
        })
        .await
    }

    async fn balance(&self, meter: &MeterId) -> Result<Option<Balance>, io::Error> {
        let state = self.state.lock().unwrap();
        let credits = state.meters.get(meter).map(|meter| balance(meter.credits));
        let credits = credits.filter(|credits| credits.topped_up > 0);
        Ok(credits.or_else(|| self.is(MeterMistake::BalanceOfNothing).then(Balance::default)))
    }

    async fn top_up(&self, meter: &MeterId, amount: u64, once: &TopUpId) -> Result<TopUp, io::Error> {
        use MeterMistake::*;
        self.change(|state| {
            let of = if self.is(TopUpOfAnyMeter) { MeterId::new("any") } else { meter.clone() };
            let first = state.top_ups.get(&(of.clone(), once.as_str().to_owned())).copied();
            let credits = &mut state.meters.entry(meter.clone()).or_default().credits;
            if first.is_none() || self.is(TopUpTwice) {
                if amount > (1 << 62) - credits[TOPPED_UP] {
                    if self.is(TopUpWithoutEnd) {
                        return Ok(TopUp::new(amount, true, balance(*credits)));
                    }
                    return Err(io::Error::other("above 2^62"));
                }
                credits[AVAILABLE] += amount;
                credits[TOPPED_UP] += amount;
                state.top_ups.entry((of, once.as_str().to_owned())).or_insert(amount);
            }
            let said = if self.is(TopUpSaysItsOwn) { amount } else { first.unwrap_or(amount) };
            Ok(TopUp::new(said, first.is_none(), balance(*credits)))
        })
        .await
    }
}
