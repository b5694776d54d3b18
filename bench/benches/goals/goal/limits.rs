//! Goal 16: what limits add to the layer. Every comparison is with the same layer without limits, except for a 429, which is compared
//! with an acceptance by the same limit.

use std::{collections::HashSet, convert::Infallible, future::ready};

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use tower::{Layer, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyStore,
    limit::{Limit, Limits, Plans, Quota, Rate, Subject},
    store::{CachedStore, MemoryStore},
};

use super::{cache, threads};
use crate::{
    calls::Calls,
    paired::Group,
    report::Report,
    rig::{self, Bare, Carries, Keys, PRESENTED},
    spread::Spread,
};

/// What one rate may add over a memory store, which reads the clock for it; and where the clock is read already.
const ONE_OVER_MEMORY: f64 = 45.0;
const ONE_OVER_A_CACHE: f64 = 20.0;

/// A name, and the limits of a plan.
type Plan = (&'static str, fn() -> Vec<Limit>);

/// The plans that are measured: without limits, with one rate, and with more.
const PLANS: [Plan; 6] = [
    ("without limits", Vec::new),
    ("one rate", || vec![rate()]),
    ("two rates", || vec![rate(), shared()]),
    ("a rate and a quota", || vec![rate(), quota()]),
    ("four limits", || vec![rate(), shared(), quota(), Limit::quota("monthly", Quota::per_month(ENOUGH))]),
    ("a concurrency limit", || vec![Limit::concurrency("at-once", 1000)]),
];

/// What 32 keys do not use up.
const ENOUGH: u64 = 100_000_000;

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    over_memory(&keys, report);
    over_a_cache(&keys, report);
    refusals(&keys, report);
    two_threads(&keys, report);
}

fn over_memory(keys: &Keys, report: &mut Report) {
    let layers = PLANS.map(|(name, plan)| (name, layer(store(keys), plan())));
    at_hand("limits over a memory store", ONE_OVER_MEMORY, &hot(keys), &layers, report);
    any_key("limits over a memory store, any key", keys, &layers, report);
}

/// A hit in a cache reads the clock already.
fn over_a_cache(keys: &Keys, report: &mut Report) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    let hot = hot(keys);
    let layers = PLANS.map(|(name, plan)| {
        let cache: CachedStore<MemoryStore> = runtime.block_on(cache::filled(keys, &hot));
        (name, layer(cache, plan()))
    });
    at_hand("limits over a cache", ONE_OVER_A_CACHE, &hot, &layers, report);
}

/// Hot keys that no other one pushes out of the small caches of a thread, which have a slot for each value of a digest's last bits.
pub fn hot(keys: &Keys) -> Vec<ApiKey> {
    let hasher = KeyHasher::sha256();
    let mut slots = HashSet::new();
    let has_a_slot = |key: &&ApiKey| slots.insert(hasher.digest(key).as_bytes()[31] % 64);
    keys.known.iter().filter(has_a_slot).take(PRESENTED).cloned().collect()
}

/// Measures hot keys under each plan, and compares them with the first plan, which has no limits.
fn at_hand(title: &str, most: f64, hot: &[ApiKey], layers: &[(&str, ApiKeyLayer)], report: &mut Report) {
    let (group, items) = measured(title, hot, layers);
    let [without, one, two, rate_and_quota, four, ..] = items[..] else { unreachable!("all plans are measured") };
    let above = |item: usize| move |ns: &[f64]| ns[item] - ns[without];
    report.at_most(16, format!("{title}: one rate, ns"), most, group.compare(above(one)));
    for (name, item, most) in [
        ("two rates / one", two, 1.5),
        ("a rate and a quota / one", rate_and_quota, 1.5),
        ("four limits / one", four, 2.2),
    ] {
        let ratio = group.compare(|ns| above(item)(ns) / above(one)(ns));
        report.at_most(16, format!("{title}: {name}"), most, ratio);
    }
    for (name, item) in [("one rate", one), ("four limits", four)] {
        let more = group.allocations(item) - group.allocations(without);
        report.at_most(16, format!("{title}: {name}, allocations"), 0.0, Spread::exact(more));
    }
    report.table(group.table());
}

/// Measures all keys in turn, so that the limits of no key are at hand.
fn any_key(title: &str, keys: &Keys, layers: &[(&str, ApiKeyLayer)], report: &mut Report) {
    let (group, _) = measured(title, &keys.known, &layers[..2]);
    report.table(group.table());
}

fn measured<'a>(title: &str, keys: &'a [ApiKey], layers: &'a [(&str, ApiKeyLayer)]) -> (Group<'a>, Vec<usize>) {
    let mut group = Group::new(title);
    let calls = |layer: &ApiKeyLayer| Calls::ok(layer.layer(Bare::<()>::new()), Carries::Bearer(keys).requests(|| ()));
    let items = layers.iter().map(|(name, layer)| group.add(*name, calls(layer))).collect();
    group.measure();
    (group, items)
}

/// A request that a limit rejects, response included.
fn refusals(keys: &Keys, report: &mut Report) {
    let hot = hot(keys);
    let exhausted = |limits: Vec<Limit>| {
        let layer = layer(store(keys), limits);
        let mut service = layer.layer(Bare::<()>::new());
        let mut make = Carries::Bearer(&hot).requests(|| ());
        for _ in &hot {
            assert!(rig::call(&mut service, make()).status().is_success());
        }
        Calls::new(service, make, StatusCode::TOO_MANY_REQUESTS)
    };
    let mut group = Group::new("limits, refusals");
    let accepts =
        Calls::ok(layer(store(keys), vec![rate()]).layer(Bare::<()>::new()), Carries::Bearer(&hot).requests(|| ()));
    let accepts = group.add("accepted, one rate", accepts);
    // As handlers do, with the headers that a 429 has too.
    let answers = service_fn(|_: Request<()>| {
        let mut response = Response::new(());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(Ok::<_, Infallible>(response))
    });
    let answers = Calls::ok(layer(store(keys), vec![rate()]).layer(answers), Carries::Bearer(&hot).requests(|| ()));
    let answers = group.add("accepted, and answered with two headers", answers);
    let rate = group.add("429, one rate", exhausted(vec![Limit::rate("rate", Rate::per_hour(1))]));
    let quota = group.add("429, one quota", exhausted(vec![Limit::quota("daily", Quota::per_day(1))]));
    group.measure();

    for (part, item) in [("429 of a rate / accepted", rate), ("429 of a quota / accepted", quota)] {
        report.at_most(16, part, 1.0, group.compare(|ns| ns[item] / ns[accepts]));
    }
    report.at_most(16, "429 of a rate / accepted and answered", 1.0, group.compare(|ns| ns[rate] / ns[answers]));
    report.table(group.table());
}

/// Two threads at once, each on its own core.
fn two_threads(keys: &Keys, report: &mut Report) {
    let limited = layer(store(keys), vec![rate()]);
    let (first, last) = (&keys.known[0], &keys.known[keys.known.len() - 1]);
    let gains = threads::gains([
        ("one rate, two threads, distinct keys", [threads::calling(&limited, first), threads::calling(&limited, last)]),
        ("one rate, two threads, one hot key", [threads::calling(&limited, first), threads::calling(&limited, first)]),
    ]);
    for (part, gain) in gains {
        report.at_least(16, part, 1.9, gain);
    }
}

pub fn rate() -> Limit {
    Limit::rate("rate", Rate::per_second(ENOUGH))
}

fn shared() -> Limit {
    Limit::rate("organization", Rate::per_second(ENOUGH)).shared_by(Subject::Organization)
}

fn quota() -> Limit {
    Limit::quota("daily", Quota::per_day(ENOUGH * 1000))
}

/// Each layer has a store of its own: a record keeps the limits of one layer.
pub fn store(keys: &Keys) -> MemoryStore {
    keys.store(&KeyHasher::sha256(), rig::two_grants)
}

pub fn layer(store: impl KeyStore, limits: Vec<Limit>) -> ApiKeyLayer {
    let builder = rig::one_scheme(ApiKeyLayer::builder(store));
    if limits.is_empty() {
        return rig::build(builder);
    }
    let plans = Plans::new().plan("plan", limits).default_plan("plan");
    rig::build(builder.limits(Limits::in_process(plans).build().expect("valid limits")))
}
