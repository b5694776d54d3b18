//! A store of meters in memory, written from the documentation of the trait alone. Tests set its clock.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use tower_api_key::limit::{
    Ask, Balance, Grant, LeaseId, MeterId, MeterRule, MeterStore, Period, Refill, Return, TopUp, TopUpId,
};

/// The store. A clone has the same meters.
#[derive(Clone)]
pub struct MeterBook(Arc<Book>);

struct Book {
    now: Box<dyn Fn() -> SystemTime + Send + Sync>,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    meters: HashMap<MeterId, Page>,
    leases: HashMap<LeaseId, Lease>,
    top_ups: HashMap<(MeterId, String), u64>,
    calls: u64,
}

/// One meter.
#[derive(Clone, Default)]
struct Page {
    /// A rate: when the burst is full again, in nanoseconds since 1970.
    full_at: u128,
    /// A quota: the units of each period, by the day that ends it.
    used: HashMap<u32, u64>,
    credits: Option<Balance>,
    /// The day of the last refill, since 1970, and its period.
    refilled: Option<(u32, Period)>,
    /// How many refills have replaced the balance.
    replaced: u64,
    /// All units that were ever granted.
    granted: u64,
}

#[derive(Clone)]
struct Lease {
    meter: MeterId,
    units: u64,
    is_open: bool,
    is_lost: bool,
    of: Of,
}

#[derive(Clone, Copy)]
enum Of {
    /// The day that ends the period.
    Quota(u32),
    Credits {
        until: SystemTime,
        replaced: u64,
    },
}

const DAY: u64 = 86_400;
const MOST: u64 = 1 << 62;

impl MeterBook {
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(Book { now: Box::new(now), pages: Mutex::default() }))
    }

    /// Returns whether the numbers of all credits agree, with each other and with the open leases.
    pub fn sum_is_right(&self) -> bool {
        let pages = self.pages();
        pages.meters.iter().all(|(meter, page)| {
            let Some(credits) = page.credits else { return true };
            let open = pages.leases.values().filter(|lease| lease.is_open && lease.meter == *meter);
            let parts = [credits.available, credits.leased, credits.spent, credits.lost, credits.expired];
            credits.topped_up == parts.iter().sum::<u64>()
                && credits.leased == open.map(|lease| lease.units).sum::<u64>()
        })
    }

    /// Returns the units of a meter that were granted in all.
    pub fn charged(&self, meter: &MeterId) -> u64 {
        self.pages().meters.get(meter).map_or(0, |page| page.granted)
    }

    /// Returns the meters that have a row.
    pub fn meters(&self) -> Vec<MeterId> {
        let mut meters: Vec<_> = self.pages().meters.keys().cloned().collect();
        meters.sort();
        meters
    }

    /// Returns how many leases are open.
    pub fn open_leases(&self) -> usize {
        self.pages().leases.values().filter(|lease| lease.is_open).count()
    }

    /// Returns how many calls there were.
    pub fn calls(&self) -> u64 {
        self.pages().calls
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.pages.lock().unwrap()
    }

    fn called(&self) -> MutexGuard<'_, Pages> {
        let mut pages = self.pages();
        pages.calls += 1;
        pages
    }
}

impl MeterStore for MeterBook {
    type Error = &'static str;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, Self::Error> {
        let meters: HashSet<_> = asks.iter().map(|ask| &ask.meter).collect();
        assert_eq!(meters.len(), asks.len(), "two asks have the same meter");
        let mut pages = self.called();
        Ok(asks.iter().map(|ask| pages.take(ask, (self.0.now)())).collect())
    }

    async fn give_back(&self, returns: &[Return]) -> Result<(), Self::Error> {
        let mut pages = self.called();
        for back in returns {
            pages.find(back.lease, &back.meter);
            pages.close(back.lease, &back.meter, back.left);
        }
        Ok(())
    }

    async fn balance(&self, meter: &MeterId) -> Result<Option<Balance>, Self::Error> {
        Ok(self.called().meters.get(meter).and_then(|page| page.credits))
    }

    async fn top_up(&self, meter: &MeterId, amount: u64, once: &TopUpId) -> Result<TopUp, Self::Error> {
        let mut pages = self.called();
        let entry = (meter.clone(), once.as_str().to_owned());
        let before = pages.top_ups.get(&entry).copied();
        let mut balance = pages.meters.get(meter).and_then(|page| page.credits).unwrap_or_default();
        if before.is_none() {
            if balance.available.saturating_add(amount) > MOST {
                return Err("the balance would be above 2^62");
            }
            balance.available += amount;
            balance.topped_up += amount;
            pages.top_ups.insert(entry, amount);
            pages.meters.entry(meter.clone()).or_default().credits = Some(balance);
        }
        Ok(TopUp::new(before.unwrap_or(amount), before.is_none(), balance))
    }
}

impl Pages {
    fn take(&mut self, ask: &Ask, now: SystemTime) -> Grant {
        match ask.rule {
            MeterRule::Rate { increment, tolerance } => self.rate(ask, now, increment.into(), tolerance.into()),
            MeterRule::Quota { most, period } => self.quota(ask, now, most, period),
            MeterRule::Credits(refill) => self.credits(ask, now, refill),
            _ => panic!("the book has no such rule: {:?}", ask.rule),
        }
    }

    fn rate(&mut self, ask: &Ask, now: SystemTime, increment: u128, tolerance: u128) -> Grant {
        let now = since_1970(now).as_nanos();
        let mut full_at = self.meters.get(&ask.meter).map_or(0, |page| page.full_at).min(now + tolerance).max(now);
        let available = |full_at: u128| (tolerance + now).saturating_sub(full_at) / increment;
        let units = granted(ask, available(full_at).try_into().unwrap(), 1);
        full_at += u128::from(units) * increment;
        if units > 0 {
            let page = self.meters.entry(ask.meter.clone()).or_default();
            (page.full_at, page.granted) = (full_at, page.granted + units);
        }
        let mut grant = Grant::new(units, available(full_at).try_into().unwrap());
        grant.wait = needed(ask, units).and_then(|needed| {
            let takes = u128::from(needed) * increment;
            let wait = (full_at + takes).saturating_sub(now + tolerance);
            (takes <= tolerance).then(|| Duration::from_nanos(wait.try_into().unwrap()))
        });
        grant
    }

    fn quota(&mut self, ask: &Ask, now: SystemTime, most: u64, period: Period) -> Grant {
        let end = period.end(today(now));
        let (carried, expired) = self.replace(ask);
        let used = self.meters.get(&ask.meter).and_then(|page| page.used.get(&end)).copied().unwrap_or(0);
        let available = most.saturating_sub(used);
        let (units, taken) = self.lease(ask, available, carried, Of::Quota(end));
        if taken > 0 {
            let page = self.meters.entry(ask.meter.clone()).or_default();
            page.used.insert(end, used + taken);
            page.granted += taken;
        }
        let mut grant = Grant::new(units, available - taken);
        let ends = until(end, now);
        (grant.ends, grant.expired) = (Some(ends), expired);
        grant.wait = needed(ask, units).and_then(|needed| (needed <= most).then_some(ends));
        grant
    }

    fn credits(&mut self, ask: &Ask, now: SystemTime, refill: Option<Refill>) -> Grant {
        let today = today(now);
        let mut page = self.meters.get(&ask.meter).cloned().unwrap_or_default();
        match refill {
            Some(refill) => page.refill(refill, today),
            None => page.refilled = page.refilled.filter(|(day, period)| period.end(*day) > today),
        }
        let (mut lost, mut carried, mut expired) = (0, 0, 0);
        // A look changes nothing.
        if ask.lease.is_some() {
            if page.credits.is_some() {
                self.meters.insert(ask.meter.clone(), page);
            }
            (carried, expired) = self.replace(ask);
            lost = self.write_off(&ask.meter, now);
            page = self.meters.get(&ask.meter).cloned().unwrap_or_default();
        }
        let mut balance = page.credits.unwrap_or_default();
        let of = Of::Credits { until: now + ask.deadline, replaced: page.replaced };
        // What is carried has come back, and is leased again.
        carried = carried.min(balance.available);
        balance.available -= carried;
        balance.leased += carried;
        let (units, taken) = self.lease(ask, balance.available, carried, of);
        if taken + carried > 0 {
            balance.available -= taken;
            balance.leased += taken;
            (page.credits, page.granted) = (Some(balance), page.granted + taken);
            self.meters.insert(ask.meter.clone(), page);
        }
        let mut grant = Grant::new(units, balance.available);
        (grant.lost, grant.expired) = (lost, expired);
        grant.wait = needed(ask, units).and_then(|needed| {
            let refill = refill.filter(|refill| refill.amount() > 0)?;
            let missing = if refill.is_replacing() { needed } else { needed.saturating_sub(balance.available) };
            let periods = missing.div_ceil(refill.amount());
            if refill.is_replacing() && periods > 1 {
                return None;
            }
            let day = (0..periods.max(1)).fold(today, |day, _| refill.period().end(day));
            Some(until(day, now))
        });
        grant
    }

    /// Keeps a lease. Returns the units that it has, and those that are taken from the meter now.
    fn lease(&mut self, ask: &Ask, available: u64, carried: u64, of: Of) -> (u64, u64) {
        let Some(id) = ask.lease else { return (0, 0) };
        if let Some(known) = self.leases.get(&id) {
            let is_present = match (known.of, of) {
                (Of::Quota(known), Of::Quota(end)) => known == end,
                _ => true,
            };
            let units = known.units.saturating_sub(ask.carried);
            return (if known.is_open && is_present { units } else { 0 }, 0);
        }
        let units = granted(ask, available, 0);
        let is_open = units > 0 || ask.carried > 0 || ask.waiting == 0 && ask.more == 0;
        if is_open || !ask.is_first {
            let (meter, units) = (ask.meter.clone(), units + carried);
            self.leases.insert(id, Lease { meter, units, is_open, is_lost: false, of });
        }
        (units, units)
    }

    /// Closes the lease that an ask replaces. Returns what of it becomes a part of the new one, and
    /// what is over.
    fn replace(&mut self, ask: &Ask) -> (u64, u64) {
        let known = ask.lease.and_then(|lease| self.leases.get(&lease));
        let left = if ask.lease.is_some() && known.is_none() { ask.carried } else { 0 };
        let over = known.filter(|lease| lease.is_open).map_or(0, |lease| ask.carried.saturating_sub(lease.units));
        let Some(replaces) = ask.replaces else { return (0, over) };
        let open = self.leases.get(&replaces).filter(|lease| lease.is_open && lease.meter == ask.meter);
        let Some(of) = open.map(|lease| lease.of) else { return (0, over) };
        let before = self.meters[&ask.meter].credits.unwrap_or_default();
        // The units of a quota stay used.
        let is_quota = matches!(of, Of::Quota(_));
        self.close(replaces, &ask.meter, if is_quota { 0 } else { left });
        let after = self.meters[&ask.meter].credits.unwrap_or_default();
        let carried = if is_quota { left } else { after.available - before.available };
        (carried, over + after.expired - before.expired)
    }

    /// A lease that was written off is open again.
    fn find(&mut self, id: LeaseId, meter: &MeterId) {
        let lease = self.leases.get_mut(&id).filter(|lease| lease.is_lost && lease.meter == *meter);
        let Some(lease) = lease else { return };
        (lease.is_lost, lease.is_open) = (false, true);
        let balance = self.meters.entry(meter.clone()).or_default().credits.get_or_insert_default();
        lease.units = lease.units.min(balance.lost);
        balance.leased += lease.units;
        balance.lost -= lease.units;
    }

    fn close(&mut self, id: LeaseId, meter: &MeterId, left: u64) {
        let lease = self.leases.get_mut(&id).filter(|lease| lease.is_open && lease.meter == *meter);
        let Some(lease) = lease else { return };
        lease.is_open = false;
        let (units, of) = (lease.units, lease.of);
        let page = self.meters.entry(meter.clone()).or_default();
        match of {
            Of::Quota(end) => {
                let used = page.used.entry(end).or_default();
                *used = used.saturating_sub(left);
            }
            Of::Credits { replaced, .. } => {
                let has_expired = page.replaced != replaced;
                let balance = page.credits.get_or_insert_default();
                balance.leased -= units;
                balance.spent += units - units.min(left);
                let of_others = left.saturating_sub(units);
                let of_spent = of_others.min(balance.spent);
                let of_lost = (of_others - of_spent).min(balance.lost);
                balance.spent -= of_spent;
                balance.lost -= of_lost;
                let back = units.min(left) + of_spent + of_lost;
                *(if has_expired { &mut balance.expired } else { &mut balance.available }) += back;
            }
        }
    }

    /// Writes off the leases of credits whose deadline is over.
    fn write_off(&mut self, meter: &MeterId, now: SystemTime) -> u64 {
        let mut lost = 0;
        for lease in self.leases.values_mut().filter(|lease| lease.is_open && lease.meter == *meter) {
            if matches!(lease.of, Of::Credits { until, .. } if until < now) {
                (lease.is_open, lease.is_lost) = (false, true);
                lost += lease.units;
            }
        }
        if lost > 0 {
            let balance = self.meters.entry(meter.clone()).or_default().credits.get_or_insert_default();
            balance.leased -= lost;
            balance.lost += lost;
        }
        lost
    }
}

impl Page {
    fn refill(&mut self, refill: Refill, today: u32) {
        let begins = |day: &u32| refill.period().end(day - 1) == *day;
        let longest = match refill.period() {
            Period::Day => 1,
            Period::Week(_) => 7,
            _ => 31,
        };
        let mut refills = 1;
        if let Some((last, period)) = &mut self.refilled {
            *last = if *last > today + longest { today } else { *last };
            if !(*last + 1..=today).any(|day| begins(&day)) {
                return;
            }
            refills = (period.end(*last)..=today).filter(begins).count().max(1) as u64;
        }
        self.refilled = Some((today, refill.period()));
        let balance = self.credits.get_or_insert_default();
        let mut amount = refill.amount();
        if refill.is_replacing() {
            balance.expired += std::mem::take(&mut balance.available);
            self.replaced += 1;
        } else {
            amount = amount.saturating_mul(refills).min(MOST - balance.available);
        }
        balance.available += amount;
        balance.topped_up += amount;
    }
}

/// Returns the units for an ask: what requests wait for, and a sixteenth of the rest.
fn granted(ask: &Ask, available: u64, least_rest: u64) -> u64 {
    if available < ask.least || ask.waiting == 0 && ask.more == 0 {
        return 0;
    }
    let first = available.min(ask.waiting);
    let rest = available - first;
    first + (rest / 16).max(least_rest.min(rest)).min(ask.more)
}

/// Returns the number of units that requests wait for, if they have too few.
fn needed(ask: &Ask, units: u64) -> Option<u64> {
    (units < ask.waiting).then(|| if units > 0 { 1 } else { ask.least.max(1) })
}

fn until(day: u32, now: SystemTime) -> Duration {
    Duration::from_secs(u64::from(day) * DAY).saturating_sub(since_1970(now))
}

fn today(now: SystemTime) -> u32 {
    (since_1970(now).as_secs() / DAY).try_into().unwrap()
}

fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
