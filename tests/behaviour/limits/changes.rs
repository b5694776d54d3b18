//! Tests changes of a plan, and of the numbers of a record. A raise works at once, and a cut locks a
//! caller out for at most its own burst.

use std::time::Duration;

use super::{SECOND, advance, burst, change, daily, free, full, left, passes, planned, retry_after};
use crate::support::{LIVE, accepted, bearer};
use tower_api_key::{
    Reason,
    limit::{Limit, Plans, Quota, Rate},
};

const BIG: &str = "big_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

fn both() -> Plans {
    let rate = |rate| Limit::rate("rate", rate);
    Plans::new()
        .plan("free", [rate(Rate::per_minute(5)), Limit::quota("daily", Quota::per_day(10))])
        .plan("pro", [rate(Rate::per_minute(60)), Limit::quota("daily", Quota::per_day(100))])
        .default_plan("free")
}

#[tokio::test]
async fn a_raise_works_with_the_next_request() {
    let (api, limits) = planned(both());
    let api = api.run();
    assert_eq!(passes(&api, LIVE).await, 5);
    change(&api, LIVE, |record| record.with_plan("pro")).await;
    assert_eq!(left(&api, &limits, LIVE).await, [60, 95], "a rate begins anew, and a quota goes on");
    assert_eq!(passes(&api, LIVE).await, 60);
    change(&api, LIVE, |record| record.with_limit("rate", None).with_limit("daily", 200)).await;
    assert_eq!(left(&api, &limits, LIVE).await, [135]);
    assert_eq!(passes(&api, LIVE).await, 135);
    change(&api, LIVE, |record| record.with_limit("daily", None)).await;
    assert_eq!(passes(&api, LIVE).await, 1000);
}

#[tokio::test]
async fn a_cut_locks_nobody_out_for_longer_than_its_own_burst() {
    let (api, _) = planned(
        Plans::new()
            .plan("big", [Limit::rate("rate", Rate::per_hour(1000))])
            .plan("small", [Limit::rate("rate", Rate::per_second(2))])
            .default_plan("big"),
    );
    let api = api.run();
    assert_eq!(passes(&api, LIVE).await, 1000);
    change(&api, LIVE, |record| record.with_plan("small")).await;
    assert_eq!(passes(&api, LIVE).await, 2);
    advance(&api.clock, SECOND);
    assert_eq!(passes(&api, LIVE).await, 2);
    // Back in the old plan, what was used there is used.
    change(&api, LIVE, |record| record.with_plan("big")).await;
    assert_eq!(passes(&api, LIVE).await, 0);
}

#[tokio::test]
async fn a_quota_below_what_is_used_refuses_until_its_period_ends() {
    let (api, limits) = planned(free([daily(100)]));
    let api = api.run();
    for _ in 0..50 {
        assert_eq!(api.call(bearer(LIVE)).await, accepted());
    }
    change(&api, LIVE, |record| record.with_limit("daily", 20)).await;
    let answer = api.answer(bearer(LIVE)).await;
    // The clock of a test is at 500,000 hours after 1970: at 08:00.
    assert_eq!((answer.status.as_u16(), retry_after(&answer)), (429, Some(16 * 3600)));
    assert_eq!(left(&api, &limits, LIVE).await, [0]);
    change(&api, LIVE, |record| record.with_limit("daily", 60)).await;
    assert_eq!(passes(&api, LIVE).await, 10);
    change(&api, LIVE, |record| record.with_limit("daily", 20)).await;
    advance(&api.clock, Duration::from_secs(16 * 3600 - 1));
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::QuotaExceeded));
    advance(&api.clock, SECOND);
    assert_eq!(passes(&api, LIVE).await, 20);
}

/// Two keys of one organization with different plans do not reset each other's count.
#[tokio::test]
async fn keys_with_different_numbers_share_a_quota_and_have_rates_apart() {
    use tower_api_key::limit::Subject::Organization;
    let (api, limits) = planned(free([burst(5).shared_by(Organization), daily(20).shared_by(Organization)]));
    let acme = |key: tower_api_key::KeyRecord| key.with_organization("acme");
    let api = api.key("k1", "one_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", acme);
    let api = api.key("k2", BIG, move |key| acme(key).with_limit("burst", 8).with_limit("daily", 40)).run();
    for _ in 0..20 {
        passes(&api, "one_WBuTSOoRi4A9spHcVY5ncnsDkxkJ").await;
        passes(&api, BIG).await;
    }
    // The rate has the burst 5 in the plan, so the record changes how fast it fills.
    assert_eq!(left(&api, &limits, BIG).await, [0, 30]);
    assert_eq!(left(&api, &limits, "one_WBuTSOoRi4A9spHcVY5ncnsDkxkJ").await, [0, 10]);
}

/// The count of a day's quota does not become the count of a month.
#[tokio::test]
async fn a_quota_of_another_period_begins_anew() {
    let quota = |quota| [Limit::quota("allowance", quota)];
    let plans = Plans::new().plan("day", quota(Quota::per_day(5))).plan("month", quota(Quota::per_month(5)));
    let (api, limits) = planned(plans.default_plan("month"));
    let api = api.run();
    assert_eq!(passes(&api, LIVE).await, 5);
    change(&api, LIVE, |record| record.with_plan("day")).await;
    assert_eq!(passes(&api, LIVE).await, 5);
    advance(&api.clock, Duration::from_hours(24));
    assert_eq!(left(&api, &limits, LIVE).await, [5]);
    change(&api, LIVE, |record| record.with_plan("month")).await;
    assert_eq!(left(&api, &limits, LIVE).await, [0]);
}

#[tokio::test]
async fn a_change_takes_the_place_of_counts_that_a_thread_keeps() {
    let (api, _) = planned(free([burst(100)]));
    let api = api.run();
    for _ in 0..10 {
        // The record is in the cache of this thread now, with its counts.
        assert_eq!(api.call(bearer(LIVE)).await, accepted());
    }
    change(&api, LIVE, |record| record.with_limit("burst", 0)).await;
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::RateLimited));
    change(&api, LIVE, |record| record.with_plan("unknown")).await;
    assert_eq!(api.call(bearer(LIVE)).await.status, 500);
    change(&api, LIVE, |record| record.with_plan("free").with_limit("burst", None)).await;
    assert_eq!(passes(&api, LIVE).await, 1000);
}

/// With a cache, a change works within its bound.
#[cfg(feature = "cache")]
#[tokio::test(start_paused = true)]
async fn a_change_works_within_the_bound_of_a_cache() {
    use super::limits_of;
    use crate::support::Api;
    use tower_api_key::{ApiKey, KeyHasher, KeyRecord};

    let (database, _channel, node) = crate::database::node().await;
    let record = KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    database.commit(record.clone());
    let api = Api::over(node.clone());
    let limits = limits_of(&api.clock, both());
    let api = api.layer(|layer| layer.limits(limits)).run();
    assert_eq!(passes(&api, LIVE).await, 5);
    database.commit(record.clone().with_plan("pro"));
    tokio::time::sleep(node.revocation_bound()).await;
    assert_eq!(passes(&api, LIVE).await, 60);
    database.commit(record.with_plan("unknown"));
    tokio::time::sleep(node.revocation_bound()).await;
    assert_eq!(api.call(bearer(LIVE)).await.status, 500);
}
