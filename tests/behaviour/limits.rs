//! Tests limits: plans, whose requests are counted, the order of the checks, and costs.
//!
//! The core of the limits is tested by itself too: `core.rs` and `interleavings.rs` include its files.
//! `core.rs` lists which change of the core fails which test. Of the rest, each of these was made once:
//!
//! - the identity of a count without the subject, or by the id of a key in place of its meter:
//!   `subjects::a_regenerated_key_goes_on_with_the_count_of_the_old_one`;
//! - without the name: `subjects::limits_of_different_names_or_subjects_count_apart`;
//! - without the numbers of a rate: `changes::a_cut_locks_nobody_out_for_longer_than_its_own_burst`;
//! - without the period of a quota: `changes::a_quota_of_another_period_begins_anew`;
//! - an unknown plan without limits: `plans::an_unknown_plan_lets_nobody_in_and_is_logged`;
//! - a number `None` that is ignored: `changes::a_raise_works_with_the_next_request`;
//! - a sweep of counts in use: `memory::a_sweep_keeps_counts_in_use`;
//! - no sweep, or none of fresh counts: `memory::counts_go_away_once_their_limits_are_full_again`;
//! - a 403 that gives a rate back, or no quota:
//!   `order::a_rejection_from_further_inside_spends_a_rate_and_no_quota`;
//! - a 429 that gives back the quotas only, of the layer or of a guard:
//!   `order::a_429_from_further_inside_spends_nothing_of_any_limit`;
//! - a guard that charges its whole cost: `costs::each_row_of_a_table_has_its_own_cost_and_limits`;
//! - a debt without an end: `handlers::the_debt_of_a_rate_is_at_most_one_burst`;
//! - a reservation that gives all back: `handlers::a_reservation_gives_back_what_was_not_spent`;
//! - `try_authenticate` that charges without an answer:
//!   `handlers::try_authenticate_spends_nothing_if_it_would_have_to_wait`;
//! - a body that holds no place: `concurrency::a_place_is_taken_until_the_body_has_ended`;
//! - a place that is not freed: `concurrency::a_body_that_is_dropped_half_way_frees_its_place`.

mod changes;
mod concurrency;
mod core;
mod costs;
#[cfg(feature = "axum")]
mod failure_server;
mod failure_table;
mod failures;
mod fields;
mod handlers;
mod interleavings;
mod known_names;
#[cfg(feature = "tracing")]
mod lease_log;
mod memory;
#[cfg(feature = "utoipa")]
mod openapi;
mod order;
mod plans;
mod quotas;
mod refusals;
mod subjects;
mod threads;
mod traces;

use std::time::Duration;

use crate::support::{Answer, Api, LIVE, Observed, TestApi, TestClock, bearer, refused};
use tower_api_key::{
    ApiKey, KeyHasher, KeyRecord, KeyRegistry, KeyStore, Reason,
    layer::ApiKeyLayerBuilder,
    limit::{Limit, Limits, Plans, Quota, Rate},
};

/// Without the feature, errors are written to standard error, which the tests do not read.
const IS_TRACED: bool = cfg!(feature = "tracing");

const SECOND: Duration = Duration::from_secs(1);

/// Returns plans with one plan, `free`, which is the default.
fn free(limits: impl IntoIterator<Item = Limit>) -> Plans {
    Plans::new().plan("free", limits).default_plan("free")
}

/// A rate of one request an hour, so that only its burst counts in a test.
fn burst(requests: u64) -> Limit {
    Limit::rate("burst", Rate::per_hour(1).burst(requests))
}

fn daily(requests: u64) -> Limit {
    Limit::quota("daily", Quota::per_day(requests))
}

/// Returns limits that read the clock of a test.
fn limits_of(clock: &TestClock, plans: Plans) -> Limits {
    let clock = clock.clone();
    Limits::in_process(plans).clock(move || clock.get()).build().unwrap()
}

/// Returns an API with limits, and with the key [`LIVE`].
fn planned(plans: Plans) -> (Api, Limits) {
    let api = Api::live();
    let limits = limits_of(&api.clock, plans);
    let of_layer = limits.clone();
    (api.layer(|layer| layer.limits(of_layer)), limits)
}

/// Returns an API with one key, which has these limits. They read the clock of the API.
pub(crate) fn limited(
    limits: impl IntoIterator<Item = Limit>,
    edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
) -> Api {
    planned(free(limits)).0.layer(edit)
}

/// Returns what is left of each limit of a key, in the order of the limits.
async fn left(api: &TestApi, limits: &Limits, key: &str) -> Vec<u64> {
    limits.remaining(&record(api, key).await).unwrap().iter().map(|limit| limit.requests).collect()
}

/// Returns the stored record of a key.
async fn record(api: &TestApi, key: &str) -> KeyRecord {
    let digest = KeyHasher::sha256().digest(&ApiKey::new(key).unwrap());
    api.store.keys.find(&digest).await.unwrap().unwrap()
}

/// Changes the stored record of a key.
async fn change(api: &TestApi, key: &str, edit: impl FnOnce(KeyRecord) -> KeyRecord) {
    let changed = edit(record(api, key).await);
    api.store.keys.update(changed, None).await.unwrap().unwrap();
}

/// Sends requests until one does not pass. Returns how many passed.
async fn passes(api: &TestApi, key: &str) -> usize {
    for passed in 0..1000 {
        if api.call(bearer(key)).await.status != 200 {
            return passed;
        }
    }
    1000
}

fn full(reason: Reason) -> Observed {
    refused(reason, 429)
}

fn retry_after(answer: &Answer) -> Option<u64> {
    Some(answer.headers.get("retry-after")?.to_str().unwrap().parse().unwrap())
}

/// Moves the clock of a test.
fn advance(clock: &TestClock, time: Duration) {
    clock.set(clock.get() + time);
}

/// Sends a request with [`LIVE`], and returns its status. Unlike [`TestApi::call`], it may be
/// rejected by the handler.
async fn status(api: &TestApi) -> u16 {
    use tower::ServiceExt;
    let Ok(response) = api.app.clone().oneshot(bearer(LIVE)).await;
    response.status().as_u16()
}
