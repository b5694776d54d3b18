//! Tests quotas over every day of five years, through a layer with a clock of the test.

use std::time::{Duration, SystemTime};

use super::{free, limits_of, retry_after};
use crate::support::{Api, LIVE, TestClock, bearer};
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyRecord,
    limit::{Limit, Limits, Quota},
    store::MemoryStore,
};
use tracing::subscriber::{NoSubscriber, set_default};

const TICK: Duration = Duration::from_nanos(1);

/// What begins a new period.
#[derive(Clone, Copy, Debug)]
enum Begins {
    EveryDay,
    OnWeekday(u8),
    OnDayOfMonth(u8),
}

impl Begins {
    fn quota(self, count: u64) -> Quota {
        match self {
            Self::EveryDay => Quota::per_day(count),
            Self::OnWeekday(day) => Quota::per_week(count).from_day(day),
            Self::OnDayOfMonth(day) => Quota::per_month(count).from_day(day),
        }
    }

    /// Returns whether a period begins on this day.
    fn on(self, day: Date) -> bool {
        match self {
            Self::EveryDay => true,
            Self::OnWeekday(first) => day.weekday().to_monday_one_offset().cast_unsigned() == first,
            Self::OnDayOfMonth(first) => day.day() == first.cast_signed().min(day.days_in_month()),
        }
    }

    /// Returns the next day on which a period begins.
    fn after(self, day: Date) -> Date {
        days_from(day).skip(1).find(|day| self.on(*day)).unwrap()
    }
}

fn days_from(first: Date) -> impl Iterator<Item = Date> {
    first.series(Span::new().days(1))
}

fn five_years() -> impl Iterator<Item = Date> {
    days_from(jiff::civil::date(2024, 1, 1)).take_while(|day| day.year() <= 2028)
}

fn midnight(day: Date) -> SystemTime {
    let seconds = day.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap())
}

/// Returns a layer that counts in this quota.
fn layer(clock: &TestClock, quota: Quota) -> (ApiKeyLayer, Limits) {
    let limits = limits_of(clock, free([Limit::quota("quota", quota)]));
    let store = MemoryStore::new();
    store.add(KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256())).unwrap();
    (ApiKeyLayer::builder(store).limits(limits.clone()).build().unwrap(), limits)
}

/// Sends one request. Returns the wait if it is rejected.
fn call(layer: &ApiKeyLayer) -> Result<(), Duration> {
    let result = layer.try_authenticate(&bearer(LIVE)).unwrap();
    result.map(drop).map_err(|rejection| rejection.retry_after().unwrap())
}

/// Two requests a day, at its first and its last nanosecond: what is used is twice the days since
/// the period began.
#[test]
fn every_period_of_five_years_counts_exactly_its_own_requests() {
    let _quiet = set_default(NoSubscriber::default());
    let days = (1..=31).map(Begins::OnDayOfMonth).chain((1..=7).map(Begins::OnWeekday)).chain([Begins::EveryDay]);
    for begins in days {
        let clock = TestClock::new();
        let (layer, _) = layer(&clock, begins.quota(1_000_000));
        let mut used = 0;
        for (number, day) in five_years().enumerate() {
            if begins.on(day) {
                used = 0;
            }
            for time in [midnight(day), midnight(day.tomorrow().unwrap()) - TICK] {
                clock.set(time);
                let key = layer.try_authenticate(&bearer(LIVE)).unwrap().unwrap();
                used += 1;
                if number >= 31 {
                    assert_eq!(1_000_000 - key.remaining()[0].requests, used, "{begins:?} {day}");
                }
            }
        }
    }
}

/// A period that begins on this day admits its number, and not one more until it ends.
#[test]
fn a_period_from_every_day_of_five_years_admits_exactly_its_number() {
    const MOST: u64 = 3;
    let _quiet = set_default(NoSubscriber::default());
    let clock = TestClock::new();
    for day in five_years() {
        let (month, week) = (day.day().cast_unsigned(), day.weekday().to_monday_one_offset().cast_unsigned());
        for begins in [Begins::EveryDay, Begins::OnWeekday(week), Begins::OnDayOfMonth(month)] {
            let (layer, _) = layer(&clock, begins.quota(MOST));
            let (begin, end) = (midnight(day), midnight(begins.after(day)));
            clock.set(begin - TICK);
            for _ in 0..MOST {
                assert_eq!(call(&layer), Ok(()));
            }
            assert_eq!(call(&layer), Err(Duration::from_secs(1)), "{begins:?} {day}");
            clock.set(begin);
            for _ in 0..MOST {
                assert_eq!(call(&layer), Ok(()), "{begins:?} {day}");
            }
            assert_eq!(call(&layer), Err(end.duration_since(begin).unwrap()), "{begins:?} {day}");
            clock.set(end - TICK);
            assert_eq!(call(&layer), Err(Duration::from_secs(1)), "{begins:?} {day}");
            clock.set(end);
            assert_eq!(call(&layer), Ok(()), "{begins:?} {day}");
        }
    }
}

/// The days that the issue names.
#[test]
fn a_month_from_the_31st_begins_on_the_last_day_of_shorter_months() {
    let clock = TestClock::new();
    let (layer, limits) = layer(&clock, Quota::per_month(10).from_day(31));
    let record = KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    let ends = |month: i8, day: i8| {
        clock.set(midnight(jiff::civil::date(2025, month, day)));
        call(&layer).unwrap();
        let after = limits.remaining(&record).unwrap()[0].full_after.unwrap();
        let end = Timestamp::try_from(clock.get() + after).unwrap().to_zoned(TimeZone::UTC).date();
        (end.month(), end.day())
    };
    assert_eq!(ends(1, 30), (1, 31));
    assert_eq!(ends(1, 31), (2, 28));
    assert_eq!(ends(2, 27), (2, 28));
    assert_eq!(ends(2, 28), (3, 31));
    assert_eq!(ends(4, 29), (4, 30));
    assert_eq!(ends(12, 31), (1, 31));
}

/// A clock that is set back does not begin an earlier period again.
#[test]
fn a_clock_that_goes_back_gives_no_second_quota() {
    let clock = TestClock::new();
    let (layer, _) = layer(&clock, Quota::per_day(2));
    let day = midnight(jiff::civil::date(2026, 3, 1));
    clock.set(day);
    assert_eq!((call(&layer), call(&layer)), (Ok(()), Ok(())));
    for _ in 0..3 {
        clock.set(day - TICK);
        assert!(call(&layer).is_err());
        clock.set(day + Duration::from_secs(60));
        assert!(call(&layer).is_err());
    }
    clock.set(day + Duration::from_hours(24));
    assert_eq!(call(&layer), Ok(()));
}

/// A clock that was a year ahead by mistake locks no caller out for that year.
#[test]
fn a_clock_that_was_far_ahead_locks_nobody_out() {
    let clock = TestClock::new();
    for begins in [Begins::EveryDay, Begins::OnWeekday(1), Begins::OnDayOfMonth(1)] {
        let (layer, _) = layer(&clock, begins.quota(2));
        let day = midnight(jiff::civil::date(2026, 3, 1));
        clock.set(day + Duration::from_hours(24 * 366));
        assert_eq!((call(&layer), call(&layer)), (Ok(()), Ok(())));
        clock.set(day);
        assert_eq!(call(&layer), Ok(()), "{begins:?}");
    }
}

/// In whole seconds, rounded up, at any time of a second.
#[tokio::test]
async fn who_waits_retry_after_is_let_in() {
    for millis in [0, 1, 499, 999] {
        for limit in [
            Limit::quota("daily", Quota::per_day(2)),
            Limit::quota("weekly", Quota::per_week(2)),
            Limit::rate("rate", tower_api_key::limit::Rate::per(2, Duration::from_millis(7777))),
            Limit::rate("fast", tower_api_key::limit::Rate::per_second(2)),
        ] {
            let api = Api::live();
            let limits = limits_of(&api.clock, free([limit.clone(), Limit::quota("long", Quota::per_month(50))]));
            let api = api.layer(|layer| layer.limits(limits)).run();
            api.clock.set(midnight(jiff::civil::date(2026, 3, 1)) + Duration::from_millis(millis));
            for _ in 0..3 {
                assert!(super::passes(&api, LIVE).await >= 1, "{limit:?}");
                let wait = retry_after(&api.answer(bearer(LIVE)).await).unwrap();
                super::advance(&api.clock, Duration::from_secs(wait - 1));
                assert_eq!(super::passes(&api, LIVE).await, 0, "{limit:?} {wait}");
                super::advance(&api.clock, Duration::from_secs(1));
            }
        }
    }
}
