//! Tests whose requests a limit counts together: those of a key, an owner or an organization, and
//! those of the keys that replace a key.

use std::time::Duration;

use super::{burst, daily, free, full, left, limits_of, passes, planned};
use crate::support::{
    Api, LIVE, TestApi, accepted, bearer,
    registry::{admin, id, text, user},
};
use tower_api_key::{
    ApiKeyLayer, KeyHasher, KeyManager, KeyRecord, Owner, Reason,
    limit::{Limit, Limits, Subject},
    manage::{Issued, NewKey, Rotation},
};

const HOUR: Duration = Duration::from_hours(1);

const KEYS: [&str; 7] = [
    "k0_WBuTSOoRi4A9spHcVY5ncnsDkxkJ",
    "k1_WBuTSOoRi4A9spHcVY5ncnsDkxkJ",
    "k2_WBuTSOoRi4A9spHcVY5ncnsDkxkJ",
    "k3_WBuTSOoRi4A9spHcVY5ncnsDkxkJ",
    "k4_WBuTSOoRi4A9spHcVY5ncnsDkxkJ",
    "k5_WBuTSOoRi4A9spHcVY5ncnsDkxkJ",
    "k6_WBuTSOoRi4A9spHcVY5ncnsDkxkJ",
];

/// Returns an API with seven keys: two of alice in acme, one of bob in acme, one of a service account
/// in acme, one of alice in umbrella, one of alice without an organization, one without an owner.
fn with_keys(limit: Limit) -> (TestApi, Limits) {
    let of = |owner: Option<Owner>, organization: Option<&'static str>| {
        move |key: KeyRecord| {
            let key = owner.into_iter().fold(key, KeyRecord::with_owner);
            organization.into_iter().fold(key, KeyRecord::with_organization)
        }
    };
    let alice = || Some(Owner::User("alice".to_owned()));
    let (api, limits) = planned(free([limit]));
    let api = api
        .key("k0", KEYS[0], of(alice(), Some("acme")))
        .key("k1", KEYS[1], of(alice(), Some("acme")))
        .key("k2", KEYS[2], of(Some(Owner::User("bob".to_owned())), Some("acme")))
        .key("k3", KEYS[3], of(Some(Owner::ServiceAccount), Some("acme")))
        .key("k4", KEYS[4], of(alice(), Some("umbrella")))
        .key("k5", KEYS[5], of(alice(), None))
        .key("k6", KEYS[6], of(None, None));
    (api.run(), limits)
}

/// Sends one request with each key to a limit of 10. Returns how many requests each sees as used.
async fn used_after_one_request_each(subject: Subject) -> [Vec<u64>; 2] {
    let mut all = Vec::new();
    for limit in [burst(10), daily(10)] {
        let (api, limits) = with_keys(limit.shared_by(subject));
        for key in KEYS {
            assert_eq!(api.call(bearer(key)).await, accepted());
        }
        let mut used = Vec::new();
        for key in KEYS {
            used.push(10 - left(&api, &limits, key).await[0]);
        }
        all.push(used);
    }
    all.try_into().unwrap()
}

#[tokio::test]
async fn a_limit_counts_for_a_key_its_owner_or_its_organization() {
    let both = |used: [u64; 7]| [used.to_vec(), used.to_vec()];
    assert_eq!(used_after_one_request_each(Subject::Key).await, both([1, 1, 1, 1, 1, 1, 1]));
    // An owner counts within an organization. A key without an owner counts by itself.
    assert_eq!(used_after_one_request_each(Subject::Owner).await, both([2, 2, 1, 1, 1, 1, 1]));
    // A key without an organization counts by itself.
    assert_eq!(used_after_one_request_each(Subject::Organization).await, both([4, 4, 4, 4, 1, 1, 1]));
}

#[tokio::test]
async fn no_key_passes_once_the_limit_of_its_organization_is_full() {
    let (api, _) = with_keys(burst(3).shared_by(Subject::Organization));
    for key in [KEYS[0], KEYS[2], KEYS[3]] {
        assert_eq!(api.call(bearer(key)).await, accepted());
    }
    for key in &KEYS[..4] {
        assert_eq!(api.call(bearer(key)).await, full(Reason::RateLimited));
    }
    assert_eq!(api.call(bearer(KEYS[4])).await, accepted());
}

/// Two limits that one name or one subject distinguishes.
#[tokio::test]
async fn limits_of_different_names_or_subjects_count_apart() {
    let (api, limits) = planned(free([
        Limit::concurrency("a", 10),
        Limit::quota("b", tower_api_key::limit::Quota::per_day(10)),
        Limit::quota("c", tower_api_key::limit::Quota::per_day(10)).shared_by(Subject::Organization),
    ]));
    let api = api.run();
    assert_eq!(passes(&api, LIVE).await, 10);
    assert_eq!(left(&api, &limits, LIVE).await, [10, 0, 0]);
    let owner = "organization of this name, and owner of this name";
    let (api, limits) = planned(free([burst(9).shared_by(Subject::Owner)]));
    let named = |key: KeyRecord| key.with_owner(Owner::User(owner.to_owned()));
    let api = api.key("k1", KEYS[1], named).key(owner, KEYS[2], |key| key).run();
    assert_eq!(passes(&api, KEYS[1]).await, 9);
    assert_eq!(left(&api, &limits, KEYS[2]).await, [9], "a key with the id of an owner");
}

/// Returns an API of a manager, with a burst of 10 for each key and a quota of 100.
fn managed() -> (TestApi, KeyManager, Limits) {
    let (api, manager) = Api::managed(|builder| builder);
    let limits = limits_of(&api.clock, free([burst(10), daily(100)]));
    let of_layer = limits.clone();
    (api.layer(|layer| layer.limits(of_layer)).run(), manager, limits)
}

async fn call(api: &TestApi, key: &Issued) -> u16 {
    api.call(bearer(text(key))).await.status
}

#[tokio::test]
async fn a_regenerated_key_goes_on_with_the_count_of_the_old_one() {
    let (api, manager, limits) = managed();
    let mut key = manager.issue(&user("alice"), NewKey::user("laptop")).await.unwrap();
    for used in 1..=10 {
        assert_eq!(call(&api, &key).await, 200);
        key = manager.regenerate(&user("alice"), id(&key)).await.unwrap();
        assert_eq!(left(&api, &limits, text(&key)).await, [10 - used, 100 - used]);
    }
    assert_eq!(call(&api, &key).await, 429);
    let other = manager.issue(&user("alice"), NewKey::user("laptop")).await.unwrap();
    assert_eq!(call(&api, &other).await, 200, "a key of its own");
}

#[tokio::test]
async fn the_old_and_the_new_key_count_together_in_the_grace_period() {
    let (api, manager, limits) = managed();
    let old = manager.issue(&admin(), NewKey::service_account("reader")).await.unwrap();
    assert_eq!(call(&api, &old).await, 200);
    let new = manager.rotate(&admin(), id(&old), Rotation::grace_period(HOUR)).await.unwrap();
    for _ in 0..4 {
        assert_eq!((call(&api, &old).await, call(&api, &new).await), (200, 200));
    }
    assert_eq!(left(&api, &limits, text(&old)).await, [1, 91]);
    assert_eq!(left(&api, &limits, text(&new)).await, [1, 91]);
    assert_eq!((call(&api, &new).await, call(&api, &new).await, call(&api, &old).await), (200, 429, 429));
}

#[tokio::test]
async fn a_rehashed_key_goes_on_with_its_count() {
    let pepper = |byte: u8| KeyHasher::hmac_sha256(&[byte; 32]).unwrap();
    let (api, manager) = Api::managed(|builder| builder.hasher(pepper(1)));
    let key = manager.issue(&admin(), NewKey::service_account("reader")).await.unwrap();
    let limits = limits_of(&api.clock, free([burst(10)]));
    let (store, clock) = (api.store.clone(), api.clock.clone());
    let newer = KeyManager::builder(store)
        .format(tower_api_key::KeyFormat::new("acme").unwrap())
        .clock(move || clock.get())
        .hasher(pepper(2).with_previous(pepper(1)))
        .build()
        .unwrap();
    let of_layer = limits.clone();
    let api = api.layer(|_| newer.layer().limits(of_layer)).run();
    assert_eq!(call(&api, &key).await, 200);
    crate::support::until(async || api.store.rehashes() == 1).await;
    for _ in 0..8 {
        assert_eq!(call(&api, &key).await, 200);
    }
    assert_eq!((call(&api, &key).await, call(&api, &key).await), (200, 429));
}

/// A meter joins keys that do not replace each other.
#[tokio::test]
async fn keys_with_one_meter_count_together() {
    let (api, limits) = planned(free([burst(10), daily(10)]));
    let api = api.key("k1", KEYS[1], |key| key.with_meter(tower_api_key::KeyId::from("live"))).run();
    assert_eq!(passes(&api, LIVE).await, 10);
    assert_eq!(left(&api, &limits, KEYS[1]).await, [0, 0]);
}

#[tokio::test]
async fn layers_with_the_same_limits_count_together_and_others_apart() {
    let (api, limits) = planned(free([burst(10)]));
    let another = |limits: Limits| Api::over(api.store.clone()).layer(|layer| layer.limits(limits)).run();
    let (second, third) = (another(limits), another(limits_of(&api.clock, free([burst(10)]))));
    let api = api.run();
    for _ in 0..5 {
        assert_eq!((api.call(bearer(LIVE)).await, second.call(bearer(LIVE)).await), (accepted(), accepted()));
        assert_eq!(third.call(bearer(LIVE)).await, accepted());
    }
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::RateLimited));
    assert_eq!(second.call(bearer(LIVE)).await, full(Reason::RateLimited));
    assert_eq!(passes(&third, LIVE).await, 5);
}

/// Both find the same record in the cache of the thread, where only one has its counts.
#[tokio::test]
async fn one_layer_inside_another_counts_by_its_own_limits() {
    let (api, inner) = planned(free([burst(7)]));
    let outer = limits_of(&api.clock, free([burst(5)]));
    let now = api.clock.clone();
    let layer = ApiKeyLayer::builder(api.store.clone()).clock(move || now.get()).limits(inner.clone()).build().unwrap();
    let service = tower::service_fn(async |_| Ok(http::Response::new(crate::support::Body::default())));
    let nested = crate::support::boxed(tower::Layer::layer(&layer, service));
    let of_outer = outer.clone();
    let api = api.layer(|builder| builder.limits(of_outer)).run_over(nested);
    for used in 1..=5 {
        assert_eq!(api.call(bearer(LIVE)).await, accepted());
        assert_eq!(left(&api, &outer, LIVE).await, [5 - used]);
        assert_eq!(left(&api, &inner, LIVE).await, [7 - used]);
    }
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::RateLimited));
    assert_eq!(left(&api, &inner, LIVE).await, [2]);
}

/// They have no id in common: one of them must not use up what another one has.
#[tokio::test]
async fn service_accounts_without_an_organization_count_apart() {
    let (api, limits) = planned(free([burst(1).shared_by(Subject::Owner)]));
    let bot = |key: KeyRecord| key.with_owner(Owner::ServiceAccount);
    let api = api.key("k0", KEYS[0], bot).key("k1", KEYS[1], bot).run();
    for key in &KEYS[..2] {
        assert_eq!(api.call(bearer(key)).await, accepted());
        assert_eq!(left(&api, &limits, key).await, [0]);
    }
}
