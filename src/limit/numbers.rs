//! The numbers of limits, and the rules that they make.

use std::time::Duration;

use super::{
    calendar::Period,
    gcra::{Gcra, LONGEST},
    meter::MeterRule,
    rule::{MOST, Rule},
    slice::{MOST_UNITS, Slice, SliceKind},
};

/// So many requests in a time, with a burst: it protects the service.
///
/// A rate fills up evenly: `Rate::per_minute(60)` allows one more request each second. In any time
/// T it admits at most `burst + rate × T` requests, by the generic cell rate algorithm (GCRA). A
/// rate or a burst of 0 admits no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a rate does nothing until it is part of a limit"]
pub struct Rate {
    count: u64,
    period: Duration,
    burst: Option<u64>,
}

/// So many requests in a day, a week or a month of the calendar, in UTC.
///
/// A quota counts exactly, and one of 0 admits no request. It is full again when the next period
/// begins, so a client may use two quotas around that time; a [`Rate`] beside it bounds that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a quota does nothing until it is part of a limit"]
pub struct Quota {
    count: u64,
    period: Period,
}

/// Units that a balance gets when a period of the calendar begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a refill does nothing until it is part of a limit"]
pub struct Refill {
    pub(super) amount: u64,
    pub(super) period: Period,
    pub(super) replaces: bool,
}

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitKind {
    Rate(Rate),
    Quota(Quota),
    Concurrency(u32),
    Credits(Option<Refill>),
}

// === impl LimitKind ===

impl LimitKind {
    /// Returns the rule of these numbers, or what is wrong with them.
    pub(super) fn rule(self) -> Result<Rule, &'static str> {
        match self {
            Self::Rate(rate) => {
                let nanos = rate.nanos()?;
                if rate.count > nanos {
                    return Err("a rate has at most 1,000,000,000 requests a second");
                }
                let gcra = Gcra::new(rate.count, nanos, rate.burst.unwrap_or(rate.count));
                gcra.map(Rule::Rate).ok_or("a burst takes at most 73 years to fill up")
            }
            Self::Quota(Quota { count, period }) => match (is_valid(period), count <= MOST) {
                (false, _) => Err(WRONG_DAY),
                (_, false) => Err("a quota is at most 17,592,186,044,415"),
                _ => Ok(Rule::Quota { most: count, period }),
            },
            Self::Concurrency(most) => Ok(Rule::Concurrency { most: most.into() }),
            Self::Credits(refill) => match refill {
                Some(refill) if !is_valid(refill.period) => Err(WRONG_DAY),
                Some(refill) if refill.amount > MOST => Err("a refill is at most 17,592,186,044,415"),
                _ => Ok(Rule::Leased(CREDITS)),
            },
        }
    }

    /// Returns the rule with another number. A number above the largest one counts as that.
    pub(super) fn rule_with(self, number: u64) -> Result<Rule, &'static str> {
        match self {
            Self::Rate(rate) => {
                let nanos = rate.nanos()?;
                let count = number.min(nanos);
                let longest = LONGEST / nanos.div_ceil(count.max(1));
                let gcra = Gcra::new(count, nanos, rate.burst.unwrap_or(count).min(longest));
                gcra.map(Rule::Rate).ok_or("a burst takes at most 73 years to fill up")
            }
            Self::Quota(Quota { period, .. }) => Ok(Rule::Quota { most: number.min(MOST), period }),
            Self::Concurrency(_) => Ok(Rule::Concurrency { most: number.min(MOST) }),
            Self::Credits(_) => Ok(Rule::Leased(if number == 0 { Slice { most: 0, ..CREDITS } } else { CREDITS })),
        }
    }

    /// Returns what a store of meters has to know of a limit with this rule, for a record that has
    /// `number` in place of the limit's own. `None` if it counts in each process.
    pub(super) fn meter_rule(self, rule: Rule, number: Option<u64>) -> Option<MeterRule> {
        match (self, rule) {
            (_, Rule::Rate(rate)) => {
                let [increment, tolerance] = rate.numbers();
                Some(MeterRule::Rate { increment, tolerance })
            }
            (_, Rule::Quota { most, period }) => Some(MeterRule::Quota { most, period }),
            (Self::Credits(refill), _) => {
                let with =
                    |refill: Refill| Refill { amount: number.map_or(refill.amount, |own| own.min(MOST)), ..refill };
                Some(MeterRule::Credits(refill.map(with)))
            }
            _ => None,
        }
    }
}

/// The rule of credits: a request may cost as much as there are.
const CREDITS: Slice = Slice { kind: SliceKind::Credits, most: MOST_UNITS, ahead: 0 };

const WRONG_DAY: &str = "a month begins on day 1 to 31, a week on day 1 (Monday) to 7";

fn is_valid(period: Period) -> bool {
    match period {
        Period::Day => true,
        Period::Week(first) => (1..=7).contains(&first),
        Period::Month(first) => (1..=31).contains(&first),
    }
}

// === impl Rate ===

impl Rate {
    fn nanos(self) -> Result<u64, &'static str> {
        let nanos = u64::try_from(self.period.as_nanos()).ok();
        let nanos = nanos.filter(|_| self.period <= YEAR && !self.period.is_zero());
        nanos.ok_or("the period of a rate is above zero and at most 366 days")
    }

    /// Allows so many requests a second. [`Plans`](super::Plans) has an example.
    pub const fn per_second(count: u64) -> Self {
        Self::per(count, Duration::from_secs(1))
    }

    /// Allows so many requests a minute.
    pub const fn per_minute(count: u64) -> Self {
        Self::per(count, Duration::from_secs(60))
    }

    /// Allows so many requests an hour.
    pub const fn per_hour(count: u64) -> Self {
        Self::per(count, Duration::from_secs(3600))
    }

    /// Allows so many requests in any other time, up to 366 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::limit::Rate;
    ///
    /// let rate = Rate::per(1, Duration::from_millis(250));
    /// assert_ne!(rate, Rate::per_second(4)); // the same rate, with a burst of 1 in place of 4
    /// ```
    pub const fn per(count: u64, period: Duration) -> Self {
        Self { count, period, burst: None }
    }

    /// Allows so many requests at once, after a pause. The default is the number of the rate: 10
    /// for `per_second(10)`. [`Plans`](super::Plans) has an example.
    pub const fn burst(mut self, requests: u64) -> Self {
        self.burst = Some(requests);
        self
    }
}

// === impl Quota ===

impl Quota {
    /// Allows so many requests a day, from midnight to midnight. [`Plans`](super::Plans) has an
    /// example.
    pub const fn per_day(count: u64) -> Self {
        Self { count, period: Period::Day }
    }

    /// Allows so many requests a week, from Monday on.
    pub const fn per_week(count: u64) -> Self {
        Self { count, period: Period::Week(1) }
    }

    /// Allows so many requests a month, from its first day on.
    pub const fn per_month(count: u64) -> Self {
        Self { count, period: Period::Month(1) }
    }

    /// Sets the day on which a month begins, 1 to 31, or a week, 1 (Monday) to 7. In a month that
    /// is shorter, the period begins on its last day: Jan 31, Feb 28, Mar 31. A day has no such
    /// setting.
    ///
    /// ```
    /// use tower_api_key::limit::Quota;
    ///
    /// let quota = Quota::per_month(10_000).from_day(31);
    /// ```
    pub const fn from_day(mut self, day: u8) -> Self {
        self.period = match self.period {
            Period::Day => Period::Day,
            Period::Week(_) => Period::Week(day),
            Period::Month(_) => Period::Month(day),
        };
        self
    }
}

// === impl Refill ===

impl Refill {
    /// Adds so many credits at the beginning of each period: what is left stays. The day of the
    /// first use begins with a refill too.
    ///
    /// ```
    /// use tower_api_key::limit::{Limit, Period, Refill};
    ///
    /// let credits = Limit::credits("calls").refill(Refill::add(1000, Period::Month(1)));
    /// ```
    pub const fn add(amount: u64, period: Period) -> Self {
        Self { amount, period, replaces: false }
    }

    /// Sets the balance to so many credits at the beginning of each period: what is left expires.
    ///
    /// ```
    /// use tower_api_key::limit::{Limit, Period, Refill};
    ///
    /// let credits = Limit::credits("calls").refill(Refill::replace(1000, Period::Month(1)));
    /// ```
    pub const fn replace(amount: u64, period: Period) -> Self {
        Self { amount, period, replaces: true }
    }

    /// Returns the credits of one refill.
    pub const fn amount(self) -> u64 {
        self.amount
    }

    /// Returns the period that a refill begins.
    pub const fn period(self) -> Period {
        self.period
    }

    /// Returns whether a refill replaces what is left.
    pub const fn is_replacing(self) -> bool {
        self.replaces
    }
}
