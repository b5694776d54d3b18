//! Tests the expiry policy of a manager: for new, replaced and edited keys, and at each use.

use std::time::{Duration, SystemTime};

use crate::support::{
    Api, TestApi, UNKNOWN, accepted, bearer,
    edits::manager_of,
    refused,
    registry::{admin, everything, id, text, user},
    t0,
};
use tower_api_key::{
    ConfigError, KeyFormat, KeyHasher, KeyManager, KeyRecord, Owner, Reason, Status,
    manage::{ExpiryPolicy, Issued, KeyManagerBuilder, ManageError, NewKey, Rotation, UpdateKey},
    store::MemoryStore,
};

const DAY: Duration = Duration::from_hours(24);
const TICK: Duration = Duration::from_micros(1);

fn with(policies: impl IntoIterator<Item = ExpiryPolicy>) -> KeyManager {
    let set = |builder: KeyManagerBuilder| policies.into_iter().fold(builder, KeyManagerBuilder::expiry_policy);
    manager_of(MemoryStore::new(), set).0
}

fn new(end: Option<SystemTime>) -> NewKey {
    end.into_iter().fold(NewKey::service_account("x"), NewKey::expires_at)
}

/// Returns the expiry, or the kind of the refusal.
fn outcome(done: Result<KeyRecord, ManageError>) -> Result<Option<SystemTime>, String> {
    done.map(|record| record.expires_at()).map_err(|error| format!("{error:?}"))
}

async fn issue(manager: &KeyManager, new: NewKey) -> Result<KeyRecord, ManageError> {
    manager.issue(&admin(), new).await.map(|issued| issued.record().clone())
}

fn too_long(days: u64) -> Result<Option<SystemTime>, String> {
    Err(format!("LifetimeTooLong({:?})", DAY * u32::try_from(days).unwrap()))
}

#[tokio::test]
async fn new_and_imported_keys_obey_the_bounds() {
    let policy = ExpiryPolicy::new().min_lifetime(DAY).max_lifetime(DAY * 90);
    let short = Err(format!("LifetimeTooShort({DAY:?})"));
    let required = Err("ExpiryRequired".to_owned());
    for (policy, asked, expected) in [
        (policy.clone(), None, Ok(Some(t0() + DAY * 90))),
        (policy.clone().default_lifetime(DAY * 30), None, Ok(Some(t0() + DAY * 30))),
        (policy.clone().required(), None, required.clone()),
        (policy.clone().required().default_lifetime(DAY), None, Ok(Some(t0() + DAY))),
        (policy.clone(), Some(t0() + DAY), Ok(Some(t0() + DAY))),
        (policy.clone(), Some(t0() + DAY - TICK), short),
        (policy.clone(), Some(t0() + DAY * 90), Ok(Some(t0() + DAY * 90))),
        (policy.clone(), Some(t0() + DAY * 90 + TICK), too_long(90)),
        (ExpiryPolicy::new(), None, Ok(None)),
        (ExpiryPolicy::new().required(), None, required),
        (ExpiryPolicy::new().min_lifetime(DAY), None, Ok(None)),
        (ExpiryPolicy::new().max_lifetime(Duration::MAX), None, Ok(None)),
        (ExpiryPolicy::new().max_lifetime(Duration::MAX), Some(t0() + DAY * 9999), Ok(Some(t0() + DAY * 9999))),
    ] {
        let manager = with([policy.clone()]);
        assert_eq!(outcome(issue(&manager, new(asked)).await), expected, "{policy:?} {asked:?}");
        let key = KeyFormat::new("acme").unwrap().generate().unwrap();
        assert_eq!(outcome(manager.import(&admin(), &key, new(asked)).await), expected, "{policy:?} {asked:?}");
        let imported = manager.import_digest(&admin(), [9; 32], new(asked)).await;
        assert_eq!(outcome(imported), expected, "{policy:?} {asked:?}");
        assert_eq!(outcome(bootstrapped(policy.clone(), asked).await), expected, "{policy:?} {asked:?}");
    }
    let refused = issue(&with([policy]), new(Some(t0() + DAY * 91))).await.unwrap_err();
    assert_eq!(refused.to_string(), "the expiry is too late: such a key may live for at most 90 days");
    assert_eq!(refused.status(), 422);
}

async fn bootstrapped(policy: ExpiryPolicy, asked: Option<SystemTime>) -> Result<KeyRecord, ManageError> {
    let first = with([policy]).bootstrap(&admin(), new(asked)).await?;
    Ok(first.unwrap().record().clone())
}

#[tokio::test]
async fn the_most_specific_policy_applies_alone() {
    let days = |days: u32| ExpiryPolicy::new().default_lifetime(DAY * days);
    let all = [
        days(1),
        days(99).for_users(),
        days(2).for_users(),
        days(3).in_environment("live"),
        days(4).for_service_accounts().in_environment("live"),
    ];
    for policies in [all.clone(), {
        let mut others = all;
        others.reverse();
        // Of two equal ones, the last applies.
        others.swap(2, 3);
        others
    }] {
        let manager = with(policies);
        for (new, expected) in [
            (NewKey::service_account("x"), 1),
            (NewKey::service_account("x").environment("test"), 1),
            (NewKey::user("x"), 2),
            (NewKey::user("x").environment("test"), 2),
            (NewKey::user("x").environment("live"), 3),
            (NewKey::service_account("x").environment("live"), 4),
        ] {
            let issued = manager.issue(&user("alice"), new.clone()).await.unwrap();
            assert_eq!(issued.record().expires_at(), Some(t0() + DAY * expected), "{new:?}");
        }
    }
    let strict = ExpiryPolicy::new().required().max_lifetime(DAY);
    let manager = with([strict, ExpiryPolicy::new().for_users()]);
    assert_eq!(manager.issue(&user("alice"), NewKey::user("x")).await.unwrap().record().expires_at(), None);
}

#[tokio::test]
async fn a_policy_whose_bounds_contradict_each_other_is_an_error() {
    let policy = ExpiryPolicy::new;
    for (policy, why) in [
        (policy().min_lifetime(DAY * 2).max_lifetime(DAY), "the minimum is longer than the maximum"),
        (policy().default_lifetime(DAY * 2).max_lifetime(DAY), "the default is longer than the maximum"),
        (policy().default_lifetime(DAY).min_lifetime(DAY * 2), "the default is shorter than the minimum"),
        (policy().max_lifetime(Duration::ZERO), "a lifetime is zero, so a key would never work"),
    ] {
        let builder = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme").unwrap());
        let built = builder.expiry_policy(ExpiryPolicy::new()).expiry_policy(policy.for_users()).build();
        assert_eq!(built.err(), Some(ConfigError::ExpiryPolicy(why.to_owned())));
    }
}

/// Issues keys without a policy, and returns a manager with one over the same store.
fn tightened(policy: ExpiryPolicy) -> (TestApi, KeyManager, KeyManager) {
    let (api, loose) = Api::managed(|builder| builder);
    let now = api.clock.clone();
    let strict = KeyManager::builder(api.store.clone()).format(KeyFormat::new("acme").unwrap());
    let strict = strict.clock(move || now.get()).expiry_policy(policy).build().unwrap();
    (api.layer(|_| strict.layer()).run(), loose, strict)
}

#[tokio::test]
async fn a_tightened_maximum_ends_keys_that_were_issued_before() {
    let (api, loose, strict) = tightened(ExpiryPolicy::new().for_service_accounts().max_lifetime(DAY * 30));
    let forever = loose.issue(&admin(), new(None)).await.unwrap();
    let year = loose.issue(&admin(), new(Some(t0() + DAY * 365))).await.unwrap();
    let soon = loose.issue(&admin(), new(Some(t0() + DAY))).await.unwrap();
    let users = loose.issue(&user("alice"), NewKey::user("x")).await.unwrap();
    let off = loose.issue(&admin(), new(None)).await.unwrap();
    strict.disable(&admin(), id(&off)).await.unwrap();
    let expired = || refused(Reason::Expired, 401);
    for (now, answers) in [
        (t0(), [accepted(), accepted(), accepted(), accepted(), refused(Reason::Disabled, 401)]),
        (t0() + DAY, [accepted(), accepted(), expired(), accepted(), refused(Reason::Disabled, 401)]),
        (t0() + DAY * 30 - TICK, [accepted(), accepted(), expired(), accepted(), refused(Reason::Disabled, 401)]),
        (t0() + DAY * 30, [expired(), expired(), expired(), accepted(), refused(Reason::Disabled, 401)]),
    ] {
        api.clock.set(now);
        for (key, expected) in [&forever, &year, &soon, &users, &off].into_iter().zip(answers) {
            assert_eq!(api.call(bearer(text(key))).await, expected, "{now:?} {:?}", key.record().name());
        }
    }
    let unknown = api.answer(bearer(UNKNOWN)).await;
    let outlived = api.answer(bearer(text(&forever))).await;
    assert_eq!((outlived.status, &outlived.headers, &outlived.body), (unknown.status, &unknown.headers, &unknown.body));
    for done in [
        strict.regenerate(&admin(), id(&forever)).await.map(drop),
        strict.rotate(&admin(), id(&year), Rotation::grace_period(DAY)).await.map(drop),
    ] {
        assert!(matches!(done, Err(ManageError::Expired(_))), "{done:?}");
    }
}

#[tokio::test]
async fn a_key_of_unknown_age_fails_a_maximum() {
    for (policy, expected) in [
        (ExpiryPolicy::new().max_lifetime(DAY), refused(Reason::Expired, 401)),
        (ExpiryPolicy::new().min_lifetime(DAY).default_lifetime(DAY).required(), accepted()),
        (ExpiryPolicy::new().for_users().max_lifetime(DAY), accepted()),
    ] {
        let (api, loose, strict) = tightened(policy);
        let key = KeyFormat::new("acme").unwrap().generate().unwrap();
        api.store.add("k1", key.expose(), &KeyHasher::sha256(), |record| {
            record.with_owner(Owner::ServiceAccount).with_organization("acme")
        });
        assert_eq!(api.call(bearer(key.expose())).await, expected);
        let edited = strict.edit(&admin(), "k1", UpdateKey::new().expires_at(t0() + DAY)).await;
        let is_bounded = expected != accepted();
        assert_eq!(matches!(edited, Err(ManageError::LifetimeTooLong(_))), is_bounded, "{edited:?}");
        assert_eq!(loose.get(&admin(), "k1").await.unwrap().status(), Status::Active);
    }
}

#[tokio::test]
async fn a_successor_inherits_within_the_policy() {
    let policy = ExpiryPolicy::new().min_lifetime(DAY * 7).max_lifetime(DAY * 30);
    for (policy, old, asked, expected) in [
        (policy.clone(), Some(DAY * 365), None, Ok(Some(t0() + DAY * 30))),
        (policy.clone(), Some(DAY), None, Ok(Some(t0() + DAY))),
        (policy.clone(), None, None, Ok(Some(t0() + DAY * 30))),
        (policy.clone(), None, Some(DAY * 31), too_long(30)),
        (policy.clone(), None, Some(DAY), Err(format!("LifetimeTooShort({:?})", DAY * 7))),
        (policy.clone().default_lifetime(DAY * 8), None, None, Ok(Some(t0() + DAY * 8))),
        (policy.clone().required(), Some(DAY), None, Ok(Some(t0() + DAY))),
        (policy.required(), None, None, Err("ExpiryRequired".to_owned())),
    ] {
        let (_, loose, strict) = tightened(policy.clone());
        let replaced = |done: Result<Issued, ManageError>| outcome(done.map(|issued| issued.record().clone()));
        let key = loose.issue(&admin(), new(old.map(|old| t0() + old))).await.unwrap();
        if asked.is_none() {
            let other = loose.issue(&admin(), new(old.map(|old| t0() + old))).await.unwrap();
            assert_eq!(replaced(strict.regenerate(&admin(), id(&other)).await), expected, "{policy:?} {old:?}");
        }
        let rotation = Rotation::grace_period(DAY);
        let rotation = asked.into_iter().fold(rotation, |rotation, asked| rotation.expires_at(t0() + asked));
        assert_eq!(
            replaced(strict.rotate(&admin(), id(&key), rotation).await),
            expected,
            "{policy:?} {old:?} {asked:?}"
        );
    }
}

#[tokio::test]
async fn an_edit_keeps_the_bounds_from_the_creation_of_the_key() {
    let policy = ExpiryPolicy::new().min_lifetime(DAY).max_lifetime(DAY * 30);
    let (api, loose, strict) = tightened(policy.required());
    let key = loose.issue(&admin(), new(None)).await.unwrap();
    api.clock.set(t0() + DAY * 10);
    for (edit, expected) in [
        (UpdateKey::new().name("any edit of other fields"), Ok(None)),
        (UpdateKey::new().expires_at(t0() + DAY * 30 + TICK), too_long(30)),
        (UpdateKey::new().expires_at(t0() + DAY * 30), Ok(Some(t0() + DAY * 30))),
        (UpdateKey::new().expires_at(None), Err("ExpiryRequired".to_owned())),
        (UpdateKey::new().expires_at(t0() + DAY * 11), Ok(Some(t0() + DAY * 11))),
    ] {
        assert_eq!(outcome(strict.edit(&admin(), id(&key), edit.clone()).await), expected, "{edit:?}");
    }
    let (_, loose, strict) = tightened(ExpiryPolicy::new().min_lifetime(DAY).max_lifetime(DAY * 30));
    let key = loose.issue(&admin(), new(None)).await.unwrap();
    for (end, expected) in [
        (None, too_long(30)),
        (Some(t0() + DAY - TICK), Err(format!("LifetimeTooShort({DAY:?})"))),
        (Some(t0() + DAY), Ok(Some(t0() + DAY))),
    ] {
        assert_eq!(outcome(strict.edit(&admin(), id(&key), UpdateKey::new().expires_at(end)).await), expected);
    }
}

/// The key of the actor has no expiry of its own, but ends by the policy.
#[tokio::test]
async fn the_policy_also_ends_an_actor_and_what_it_makes() {
    let (api, loose, strict) = tightened(ExpiryPolicy::new().for_users().max_lifetime(DAY * 30));
    let own = loose.issue(&user("alice"), NewKey::user("x").permissions(everything())).await.unwrap();
    let actor = strict.actor(own.record().id()).await.unwrap().unwrap();
    let made = strict.issue(&actor, new(None)).await.unwrap();
    assert_eq!(made.record().expires_at(), Some(t0() + DAY * 30));
    let later = strict.issue(&actor, new(Some(t0() + DAY * 31))).await;
    assert!(matches!(later, Err(ManageError::OutlivesActor)), "{later:?}");
    api.clock.set(t0() + DAY * 30);
    assert!(strict.actor(own.record().id()).await.unwrap().is_none());
    assert!(matches!(strict.issue(&actor, new(None)).await, Err(ManageError::ActorInvalid)));
    assert!(loose.actor(own.record().id()).await.unwrap().is_some());
}

#[cfg(feature = "admin-api")]
#[tokio::test]
async fn the_api_shows_when_a_key_ends_by_the_policy() {
    use axum::{Router, body::Body};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    let (api, loose, strict) = tightened(ExpiryPolicy::new().max_lifetime(DAY * 30));
    let key = loose.issue(&admin(), new(Some(t0() + DAY * 365))).await.unwrap();
    let router: Router = strict.router(&tower_api_key::Scheme::bearer().into());
    for (now, status) in [(t0() + DAY * 30 - TICK, "active"), (t0() + DAY * 30, "expired")] {
        api.clock.set(now);
        for path in ["/", &format!("/{}", id(&key))] {
            let mut request = http::Request::get(path).body(Body::empty()).unwrap();
            request.extensions_mut().insert(admin());
            let body = router.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
            let mut shown: serde_json::Value = serde_json::from_slice(&body).unwrap();
            if path == "/" {
                shown = shown["keys"][0].take();
            }
            assert_eq!((&shown["status"], &shown["expires_at"]), (&status.into(), &"2027-02-14T08:00:00Z".into()));
        }
    }
}
