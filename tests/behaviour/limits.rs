//! Tests limits: plans, whose requests are counted, the order of the checks, and costs.
//!
//! The core of the limits is tested by itself too: `core.rs` and `interleavings.rs` include its files.

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
