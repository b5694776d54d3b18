//! Tests plans: which one a record has, what numbers mean, and which numbers are errors.

use std::time::Duration;

use super::{IS_TRACED, burst, daily, free, full, left, passes, planned, retry_after};
use crate::support::{Api, LIVE, accepted, bearer, logs, refused};
use tower_api_key::{
    ConfigError, Reason,
    limit::{Limit, Limits, Plans, Quota, Rate},
};

#[tokio::test]
async fn a_record_without_a_plan_has_the_default_plan() {
    let plans = Plans::new().plan("free", [burst(2)]).plan("pro", [burst(5)]).default_plan("free");
    let (api, _) = planned(plans);
    let api = api.key("pro", "pro_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", |key| key.with_plan("pro")).run();
    assert_eq!(passes(&api, LIVE).await, 2);
    assert_eq!(passes(&api, "pro_WBuTSOoRi4A9spHcVY5ncnsDkxkJ").await, 5);
}

#[tokio::test]
async fn without_a_default_plan_a_record_without_a_plan_has_no_limits() {
    let (api, limits) = planned(Plans::new().plan("free", [burst(0)]));
    let api = api.run();
    assert_eq!(passes(&api, LIVE).await, 1000);
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!((answer.status.as_u16(), answer.principal.unwrap().remaining()), (200, Vec::new()));
    assert_eq!(left(&api, &limits, LIVE).await, [0; 0]);
    let (api, _) = planned(free([]));
    assert_eq!(passes(&api.run(), LIVE).await, 1000, "a plan without limits");
}

/// A test of an application need not set the clock of limits to let a rate fill up.
#[tokio::test(start_paused = true)]
async fn the_clock_of_tokio_advances_rates() {
    let limits = Limits::in_process(free([burst(2)])).build().unwrap();
    let api = Api::live().layer(|layer| layer.limits(limits)).run();
    assert_eq!(passes(&api, LIVE).await, 2);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(passes(&api, LIVE).await, 1);
}

#[tokio::test]
async fn an_unknown_plan_lets_nobody_in_and_is_logged() {
    let (api, limits) = planned(free([burst(1000)]));
    let api = api.key("k2", "typo_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", |key| key.with_plan("fre")).run();
    logs::take();
    for _ in 0..3 {
        let call = api.call(bearer("typo_WBuTSOoRi4A9spHcVY5ncnsDkxkJ")).await;
        assert_eq!(call, refused(Reason::Misconfigured, 500));
    }
    let lines = logs::take();
    let line = r#"the key "k2" has the plan "fre", which is not in the list of plans: its requests get 500"#;
    let is_logged = lines.lines().any(|logged| logged.contains("ERROR") && logged.contains(line));
    assert!(is_logged || !IS_TRACED, "{lines}");
    assert_eq!(api.call(bearer(LIVE)).await, accepted(), "other keys are served");
    let unknown = super::record(&api, "typo_WBuTSOoRi4A9spHcVY5ncnsDkxkJ").await;
    assert_eq!(limits.remaining(&unknown), None);
}

#[tokio::test]
async fn a_limit_of_0_lets_nobody_pass() {
    for limit in [
        Limit::rate("none", Rate::per_second(0)),
        Limit::rate("none", Rate::per_second(10).burst(0)),
        Limit::rate("none", Rate::per_second(0).burst(10)),
        Limit::quota("none", Quota::per_day(0)),
        Limit::concurrency("none", 0),
    ] {
        let (api, _) = planned(free([limit.clone()]));
        let api = api.run();
        for _ in 0..2 {
            let answer = api.answer(bearer(LIVE)).await;
            assert_eq!((answer.status.as_u16(), retry_after(&answer)), (429, None), "{limit:?}");
            super::advance(&api.clock, Duration::from_hours(24 * 400));
        }
    }
}

#[tokio::test]
async fn a_record_replaces_the_number_of_a_limit_or_removes_the_limit() {
    const KEYS: [(&str, Option<u64>, usize); 4] = [
        ("many_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", Some(7), 7),
        ("none_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", Some(0), 0),
        ("free_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", None, 1000),
        // More than any limit can have.
        ("wild_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", Some(u64::MAX), 1000),
    ];
    for limit in [daily(3), Limit::rate("daily", Rate::per(3, Duration::from_hours(24)))] {
        let (api, _) = planned(free([limit]));
        let api = KEYS.into_iter().fold(api, |api, (key, number, _)| {
            api.key(&key[..4], key, |record| record.with_limit("daily", number).with_limit("other", 0))
        });
        let api = api.run();
        assert_eq!(passes(&api, LIVE).await, 3);
        for (key, _, expected) in KEYS {
            assert_eq!(passes(&api, key).await, expected, "{key}");
        }
    }
}

#[tokio::test]
async fn a_number_of_requests_at_once_is_replaced_too() {
    let (api, limits) = planned(free([Limit::concurrency("streams", 3)]));
    let api = api.key("k2", "more_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", |record| record.with_limit("streams", 9)).run();
    assert_eq!(left(&api, &limits, "more_WBuTSOoRi4A9spHcVY5ncnsDkxkJ").await, [9]);
    assert_eq!(left(&api, &limits, LIVE).await, [3]);
}

#[tokio::test]
async fn the_refusal_names_the_limits_that_are_full_and_the_longest_wait() {
    let (api, _) = planned(free([
        Limit::rate("fast", Rate::per(1, Duration::from_secs(5))),
        Limit::rate("slow", Rate::per(1, Duration::from_secs(30))),
        Limit::quota("daily", Quota::per_day(2)),
    ]));
    let api = api.run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    let both = api.answer(bearer(LIVE)).await;
    assert_eq!((both.decision.outcome(), retry_after(&both)), (full(Reason::RateLimited).outcome, Some(30)));
    assert_eq!(both.decision.violated_limits().collect::<Vec<_>>(), ["fast", "slow"]);
    super::advance(&api.clock, Duration::from_secs(7));
    let slow = api.answer(bearer(LIVE)).await;
    assert_eq!((slow.decision.violated_limits().collect::<Vec<_>>(), retry_after(&slow)), (vec!["slow"], Some(23)));
    super::advance(&api.clock, Duration::from_secs(23));
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    let all = api.answer(bearer(LIVE)).await;
    assert_eq!(all.decision.violated_limits().collect::<Vec<_>>(), ["fast", "slow", "daily"]);
    assert_eq!(all.decision.outcome(), full(Reason::QuotaExceeded).outcome, "the longest wait is that of the quota");
}

/// Every error, by value.
#[test]
fn wrong_numbers_are_errors_when_limits_are_built() {
    const SLOW: &str = "a burst takes at most 73 years to fill up";
    const FAST: &str = "a rate has at most 1,000,000,000 requests a second";
    const PERIOD: &str = "the period of a rate is above zero and at most 366 days";
    const DAY: &str = "a month begins on day 1 to 31, a week on day 1 (Monday) to 7";
    const QUOTA: &str = "a quota is at most 17,592,186,044,415";
    let rate = |rate| Limit::rate("x", rate);
    let quota = |quota| Limit::quota("x", quota);
    let year = Duration::from_hours(366 * 24);
    for (limit, expected) in [
        (rate(Rate::per(1, Duration::ZERO)), Some(PERIOD)),
        (rate(Rate::per(1, Duration::from_nanos(1))), None),
        (rate(Rate::per(1, year)), None),
        (rate(Rate::per(1, year + Duration::from_nanos(1))), Some(PERIOD)),
        (rate(Rate::per(1, Duration::MAX)), Some(PERIOD)),
        (rate(Rate::per_second(1_000_000_000)), None),
        (rate(Rate::per_second(1_000_000_001)), Some(FAST)),
        (rate(Rate::per_second(u64::MAX)), Some(FAST)),
        (rate(Rate::per(1, year).burst(72)), None),
        (rate(Rate::per(1, year).burst(73)), Some(SLOW)),
        (rate(Rate::per_second(1).burst(u64::MAX)), Some(SLOW)),
        (quota(Quota::per_day(17_592_186_044_415)), None),
        (quota(Quota::per_day(17_592_186_044_416)), Some(QUOTA)),
        (quota(Quota::per_month(1).from_day(0)), Some(DAY)),
        (quota(Quota::per_month(1).from_day(31)), None),
        (quota(Quota::per_month(1).from_day(32)), Some(DAY)),
        (quota(Quota::per_week(1).from_day(0)), Some(DAY)),
        (quota(Quota::per_week(1).from_day(7)), None),
        (quota(Quota::per_week(1).from_day(8)), Some(DAY)),
        (quota(Quota::per_day(1).from_day(0)), None),
        (Limit::concurrency("x", u32::MAX), None),
    ] {
        let built = Limits::in_process(free([limit.clone()])).build().map(|_| ());
        let expected =
            expected.map(|why| ConfigError::Limit("limit \"x\" in the plan \"free\"".to_owned(), why.to_owned()));
        assert_eq!(built.err(), expected, "{limit:?}");
    }
}

#[test]
fn names_that_are_empty_or_unclear_are_errors_when_limits_are_built() {
    const NAME: &str = "a name has 1 to 64 visible characters of ASCII, without \" and \\";
    const PLAN: &str = "a name has 1 to 64 visible characters of ASCII";
    let limit =
        |name: &str, why: &str| Err(ConfigError::Limit(format!("limit {name:?} in the plan \"free\""), why.to_owned()));
    let plan = |name: &str, why: &str| Err(ConfigError::Plan(name.to_owned(), why.to_owned()));
    let named = |name: &str| Limit::concurrency(name, 1);
    let many = |number: u32| (0..number).map(|number| named(&format!("n{number}")));
    let routes = |number: u32| many(number).map(Limit::for_routes);
    let long = "x".repeat(65);
    let too_many = "a plan has at most 4 limits of all requests, and 4 limits for routes";
    for (plans, expected) in [
        (free([named("")]), limit("", NAME)),
        (free([named("a-b")]), Ok(())),
        (free([named("a b")]), limit("a b", NAME)),
        (Plans::new().plan("a b", []), plan("a b", PLAN)),
        (Plans::new().plan("", []), plan("", PLAN)),
        (free([named("a\"b")]), limit("a\"b", NAME)),
        (free([named("a\\b")]), limit("a\\b", NAME)),
        (free([named("é")]), limit("é", NAME)),
        (free([named("a\nb")]), limit("a\nb", NAME)),
        (free([named(&long)]), limit(&long, NAME)),
        (free([named(&long[1..])]), Ok(())),
        (
            free([burst(1), Limit::quota("burst", Quota::per_day(1))]),
            limit("burst", "two limits of the plan have this name"),
        ),
        (free(many(4)), Ok(())),
        (free(many(5)), plan("free", too_many)),
        (free(many(4).chain((4..8).map(|number| named(&format!("n{number}")).for_routes()))), Ok(())),
        (free(routes(5)), plan("free", too_many)),
        (Plans::new().plan("a", []).plan("a", []), plan("a", "two plans have this name")),
        (Plans::new().plan("a", []).default_plan("b"), plan("b", "it is the default plan, but it is not in the list")),
        (Plans::new().plan("a", [burst(1)]).plan("b", [burst(2)]), Ok(())),
        (Plans::new(), Ok(())),
    ] {
        assert_eq!(Limits::in_process(plans.clone()).build().map(|_| ()), expected, "{plans:?}");
    }
}

#[tokio::test]
async fn a_layer_without_limits_limits_nobody() {
    let api = Api::new().key("k1", LIVE, |key| key.with_plan("unknown").with_limit("burst", 0)).run();
    assert_eq!(passes(&api, LIVE).await, 1000);
    let answer = api.answer(bearer(LIVE)).await;
    let principal = answer.principal.unwrap();
    assert_eq!(principal.remaining(), Vec::new());
    principal.charge(1_000_000);
    principal.reserve(1_000_000).await.unwrap().settle(1);
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
}
