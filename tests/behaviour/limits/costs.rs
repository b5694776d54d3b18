//! Tests what a guard charges: a cost, and limits of single routes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{IS_TRACED, burst, daily, free, full, left, limits_of, passes, planned, retry_after};
use crate::support::{Api, LIVE, TestApi, accepted, bearer, logs, method, path, refused};
use http::Method;
use tower_api_key::{
    ConfigError, Reason, Require,
    limit::{Limit, Limits, Plans, Quota, Rate},
    rejection::Verdict,
};

const OTHER: &str = "other_QWBuTSOoRi4A9spHcVY5ncnsDkxk";

/// A limit of the route "search".
fn search(requests: u64) -> Limit {
    Limit::quota("search", Quota::per_day(requests)).for_routes()
}

/// Sends one request through a guard over 100 requests in an hour and 100 a day. Returns what both
/// limits were charged.
async fn charged_by(guard: Require) -> [u64; 2] {
    let (api, limits) = planned(free([burst(100), daily(100)]));
    let text = format!("{guard:?}");
    let api = api.guard(guard).run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted(), "{text}");
    let left = left(&api, &limits, LIVE).await;
    [100 - left[0], 100 - left[1]]
}

fn pass() -> Require {
    Require::authenticated()
}

fn reject() -> Require {
    Require::predicate(|_, _| false)
}

fn wait() -> Require {
    Require::check(|_, _| Verdict::wait(async { Ok(()) }))
}

fn wait_and_reject() -> Require {
    Require::check(|_, _| Verdict::wait(async { Err(tower_api_key::Rejection::forbidden()) }))
}

#[tokio::test]
async fn a_guard_charges_the_largest_cost_of_the_guards_that_accept() {
    let table = |guard: Require| Require::table().route("GET", "/", guard).build().unwrap();
    for (guard, expected) in [
        (pass(), 1),
        (pass().costs(1), 1),
        (pass().costs(5), 5),
        (Require::any([("x", "read"), ("y", "read")]).costs(5), 0),
        (wait().costs(5), 5),
        (pass().and_then(|_, _| Ok::<(), tower_api_key::Rejection>(())).costs(5), 5),
        (pass().costs(5).and_then(|_, _| Verdict::wait(async { Ok(()) })), 5),
        (Require::all([pass().costs(2), pass().costs(7), pass()]), 7),
        (Require::all([wait().costs(7), pass().costs(2)]), 7),
        (Require::all([pass().costs(2)]).costs(9), 9),
        (Require::any([reject().costs(7), pass().costs(2)]), 2),
        // The first guard that accepts at once: the others need not.
        (Require::any([wait().costs(3), pass().costs(2)]), 2),
        (Require::any([pass().costs(2), pass().costs(7)]), 2),
        // No guard accepts at once, so all of them count.
        (Require::any([wait_and_reject().costs(7), wait().costs(2)]), 7),
        (Require::any([Require::all([pass(), Require::any([pass().costs(4)])]), reject().costs(8)]), 4),
        (table(pass().costs(6)), 6),
        (table(Require::all([pass().costs(6), pass().costs(3)])), 6),
        (table(pass().costs(6)).costs(8), 8),
        (pass().costs(3).hide_as_not_found(), 3),
    ] {
        if expected > 0 {
            assert_eq!(charged_by(guard.clone()).await, [expected; 2], "{guard:?}");
        }
    }
}

#[tokio::test]
async fn guards_around_one_another_charge_each_what_they_cost_beyond_1() {
    let (api, limits) = planned(free([burst(100)]));
    let api = api.guard(pass().costs(5)).guard(pass().costs(3)).run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(left(&api, &limits, LIVE).await, [100 - 7]);
}

#[tokio::test]
async fn each_row_of_a_table_has_its_own_cost_and_limits() {
    let (api, limits) = planned(free([burst(100), daily(100), search(3)]));
    let guard = Require::table()
        .route("POST", "/images", pass().costs(5))
        .route("GET", "/search", pass().limited_by("search"))
        .route("PUT", "/both", pass().limited_by("search").costs(2))
        .route("GET", "/forbidden", reject().limited_by("search").costs(2))
        .open("/open")
        .build()
        .unwrap();
    let api = api.guard(limits.checked(guard).unwrap()).run();
    let call = async |verb: Method, to: &str| api.call(path(method(bearer(LIVE), verb), to)).await;
    let left = async || left(&api, &limits, LIVE).await;
    assert_eq!(call(Method::POST, "/images").await, accepted());
    assert_eq!(left().await, [95, 95, 3]);
    assert_eq!(call(Method::GET, "/search").await, accepted());
    assert_eq!(left().await, [94, 94, 2]);
    assert_eq!(call(Method::HEAD, "/search").await, accepted());
    assert_eq!(left().await, [93, 93, 1]);
    assert_eq!(call(Method::PUT, "/both").await, full(Reason::QuotaExceeded));
    assert_eq!(left().await, [93, 93, 1], "2 do not pass where 1 is left");
    assert_eq!(call(Method::GET, "/forbidden").await, refused(Reason::Forbidden, 403));
    assert_eq!(left().await, [92, 93, 1]);
    assert_eq!(call(Method::GET, "/open").await, accepted());
    assert_eq!(left().await, [91, 92, 1]);
    assert_eq!(call(Method::GET, "/search").await, accepted());
    assert_eq!(call(Method::GET, "/search").await, full(Reason::QuotaExceeded));
    assert_eq!(call(Method::POST, "/images").await, accepted(), "other routes go on");
}

/// Such a check may ask a database, so a caller over its rate does not reach it. A quota is charged after it.
#[tokio::test]
async fn a_check_that_waits_does_not_run_for_a_request_that_a_rate_rejects() {
    for (limit, expected) in [
        (Limit::rate("search", Rate::per_hour(1).burst(2)), (2, Reason::RateLimited)),
        (search(2), (4, Reason::QuotaExceeded)),
    ] {
        let (api, limits) = planned(free([burst(100), limit.for_routes()]));
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let guard = Require::check(move |_, _| {
            let counted = Arc::clone(&counted);
            Verdict::wait(async move {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        });
        let api = api.guard(guard.limited_by("search")).run();
        for _ in 0..2 {
            assert_eq!(api.call(bearer(LIVE)).await, accepted());
        }
        for _ in 0..2 {
            assert_eq!(api.call(bearer(LIVE)).await, full(expected.1));
        }
        assert_eq!((runs.load(Ordering::Relaxed), left(&api, &limits, LIVE).await[0]), (expected.0, 98));
    }
}

/// The rates decide before such a check runs, and the refusal is that of a guard that does not wait.
#[tokio::test]
async fn a_check_that_waits_changes_no_answer() {
    let plans = || {
        let rate = Limit::rate("rate", Rate::per_hour(1).burst(2)).for_routes();
        free([burst(100), daily(100), rate, search(2)])
    };
    let edits: [fn(Require) -> Require; 8] = [
        |guard| guard.limited_by("rate"),
        |guard| guard.limited_by("rate").limited_by("search"),
        |guard| guard.limited_by("rate").limited_by("search").costs(2),
        |guard| guard.limited_by("rate").costs(3),
        |guard| guard.limited_by("search").costs(3),
        |guard| guard.costs(60),
        |guard| guard.costs(101),
        |guard| guard.limited_by("serch").costs(101),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut all = Vec::new();
        for guard in [pass(), wait()] {
            let (api, limits) = planned(plans());
            let api = api.guard(edit(guard)).run();
            let mut answers = Vec::new();
            for _ in 0..4 {
                let answer = api.answer(bearer(LIVE)).await;
                let left = left(&api, &limits, LIVE).await;
                answers.push((answer.status, answer.headers.get("retry-after").cloned(), answer.body, left));
            }
            all.push(answers);
        }
        assert_eq!(all[0], all[1], "{number}");
    }
}

#[tokio::test]
async fn a_cost_over_the_burst_is_429_without_retry_after() {
    for (limit, cost, expected) in [
        (Limit::rate("x", Rate::per_second(3)), 4, (429, None)),
        (Limit::rate("x", Rate::per_second(3)), 3, (200, None)),
        (Limit::quota("x", Quota::per_day(3)), 4, (429, None)),
        (Limit::quota("x", Quota::per_day(3)), 3, (200, None)),
        (Limit::quota("x", Quota::per_day(3)), u32::MAX, (429, None)),
        (Limit::rate("x", Rate::per_second(3)), u32::MAX, (429, None)),
    ] {
        let (api, limits) = planned(free([limit.clone()]));
        let api = api.guard(pass().costs(cost)).run();
        let answer = api.answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), retry_after(&answer)), expected, "{limit:?} {cost}");
        if expected.0 == 429 {
            assert_eq!(left(&api, &limits, LIVE).await, [3]);
        }
    }
}

#[tokio::test]
async fn who_waits_retry_after_passes_with_a_cost() {
    let (api, _) = planned(free([Limit::rate("x", Rate::per(10, super::SECOND * 25))]));
    let api = api.guard(pass().costs(4)).run();
    assert_eq!((passes(&api, LIVE).await, passes(&api, LIVE).await), (2, 0));
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!(retry_after(&answer), Some(5), "2 more are needed, each after 2.5 seconds");
    super::advance(&api.clock, std::time::Duration::from_nanos(4_999_999_999));
    assert_eq!(passes(&api, LIVE).await, 0);
    super::advance(&api.clock, std::time::Duration::from_nanos(1));
    assert_eq!(passes(&api, LIVE).await, 1);
}

fn with_search() -> (TestApi, Limits) {
    let api = Api::live().key("k2", OTHER, |key| key.with_plan("pro"));
    let limits =
        limits_of(&api.clock, Plans::new().plan("free", [search(2)]).plan("pro", [burst(50)]).default_plan("free"));
    let of_layer = limits.clone();
    (api.layer(|layer| layer.limits(of_layer)).guard(pass().limited_by("search")).run(), limits)
}

#[tokio::test]
async fn a_limit_of_a_route_counts_for_the_plans_that_have_it() {
    let (api, limits) = with_search();
    assert_eq!(passes(&api, LIVE).await, 2);
    assert_eq!(passes(&api, OTHER).await, 50, "its plan has no such limit");
    assert_eq!(left(&api, &limits, OTHER).await, [0]);
}

#[tokio::test]
async fn a_limit_of_a_route_does_not_count_elsewhere() {
    let (api, limits) = planned(free([burst(1000), search(2)]));
    let api = api.run();
    assert_eq!(passes(&api, LIVE).await, 1000);
    assert_eq!(left(&api, &limits, LIVE).await, [0, 2]);
}

#[tokio::test]
async fn a_limit_that_no_plan_has_is_500_and_logged() {
    let plans = [free([burst(10)]), free([daily(10)]), free([Limit::rate("search", Rate::per_second(5)), daily(10)])];
    for plans in plans {
        let (api, limits) = planned(plans);
        let api = api.guard(pass().limited_by("search")).run();
        logs::take();
        assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Misconfigured, 500));
        let lines = logs::take();
        assert!(!IS_TRACED || lines.contains(r#"no plan has a limit "search" for routes"#), "{lines}");
        assert!(!left(&api, &limits, LIVE).await.contains(&0));
    }
}

/// Also for a key whose own plan has no limits at all.
#[tokio::test]
async fn a_limit_that_no_plan_has_is_500_for_every_key() {
    let (api, _) = planned(Plans::new().plan("pro", [burst(10)]));
    let api = api.guard(pass().limited_by("search")).run();
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Misconfigured, 500));
}

/// A limit that is forgotten is not a limit that is off.
#[tokio::test]
async fn a_guard_with_a_cost_or_a_limit_in_a_layer_without_limits_is_500_and_logged() {
    for guard in [pass().costs(5), pass().limited_by("search"), wait().costs(5)] {
        let api = Api::live().guard(guard).run();
        logs::take();
        assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Misconfigured, 500));
        let lines = logs::take();
        assert!(!IS_TRACED || lines.contains("the layer around it has no limits"), "{lines}");
    }
}

/// The error for a limit of the plan `free` that is smaller than a cost: a burst of 10, or of 4 for searches.
fn never(limit: &str, cost: u32) -> ConfigError {
    let most = if limit == "search" { 4 } else { 10 };
    let why =
        format!("a guard costs {cost}, but a request passes with {most} at most: lower the cost, or raise the limit");
    ConfigError::Limit(format!("limit {limit:?} in the plan \"free\""), why)
}

/// Every error, by value.
#[test]
fn checked_finds_costs_that_never_pass_and_limits_that_do_not_exist() {
    let plans = Plans::new()
        .plan("free", [burst(10), daily(100), search(4)])
        .plan("pro", [Limit::rate("burst", Rate::per_second(50)), Limit::concurrency("streams", 1)]);
    let limits = Limits::in_process(plans).build().unwrap();
    let wrong = |what: &str, why: &str| Some(ConfigError::Limit(what.to_owned(), why.to_owned()));
    let unknown = |name: &str| {
        let why = "a guard names it, but no plan has a limit of this name for routes: add it to a plan with \
                   `for_routes`, or mend the name";
        wrong(&format!("limit {name:?}"), why)
    };
    let table = |guard: Require| Require::table().route("GET", "/", pass()).route("PUT", "/", guard).build().unwrap();
    for (guard, expected) in [
        (pass(), None),
        (pass().costs(10), None),
        (pass().costs(11), Some(never("burst", 11))),
        (pass().costs(0), wrong("a guard", "it costs 0, but every request costs at least 1")),
        (pass().limited_by("search"), None),
        (pass().limited_by("search").costs(4), None),
        (pass().limited_by("search").costs(5), Some(never("search", 5))),
        (pass().limited_by("Search"), unknown("Search")),
        (pass().limited_by("burst"), unknown("burst")),
        (Require::all([pass(), pass().costs(11)]), Some(never("burst", 11))),
        (Require::any([Require::all([pass().limited_by("x")])]), unknown("x")),
        (table(pass().costs(11)), Some(never("burst", 11))),
        (pass().costs(11).and_then(|_, _| Ok::<(), tower_api_key::Rejection>(())), Some(never("burst", 11))),
    ] {
        assert_eq!(limits.checked(guard.clone()).err(), expected, "{guard:?}");
    }
    let message = "limit \"burst\" in the plan \"free\": a guard costs 11, but a request passes with 10 at most: lower the \
                   cost, or raise the limit";
    assert_eq!(limits.checked(pass().costs(11)).unwrap_err().to_string(), message);
    let nobody = Limits::in_process(free([burst(0)])).build().unwrap();
    assert_eq!(nobody.checked(pass().costs(5)).err(), None, "a limit of 0 admits nobody at any cost");
}

/// The cost of an outer guard counts beside the limits that an inner guard names.
#[test]
fn checked_compares_the_cost_of_a_whole_guard_with_the_limits_of_its_parts() {
    let limits = Limits::in_process(free([burst(10), search(4)])).build().unwrap();
    let never = Some(never("search", 5));
    let parts = Require::all([pass().limited_by("search"), pass().costs(5)]);
    assert_eq!(limits.checked(parts).err(), never);
    let outer = Require::all([pass().limited_by("search")]).costs(5);
    assert_eq!(limits.checked(outer).err(), never);
}
