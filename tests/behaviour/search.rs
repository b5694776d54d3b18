//! Tests searches of a manager: the bounds of the actor, and a key that is found by its text.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_api_key::{
    Author, KeyHasher, KeyRecord, KeyRegistry, Owner, Permissions, Status,
    manage::{Actor, ManageError, NewKey, Rotation},
    store::{KeyFilter, KeyOrder, OwnerKind},
};

use crate::support::{
    Api, LIVE, UNKNOWN,
    registry::{admin, everything, reader, text, user},
    t0, x_api_key,
};

const HOUR: Duration = Duration::from_hours(1);

fn operator() -> Actor {
    Actor::trusted(Owner::User("operator".into()), everything()).across_organizations()
}

fn ids(records: &[KeyRecord]) -> Vec<&str> {
    records.iter().map(|record| record.id().as_str()).collect()
}

#[tokio::test]
async fn a_search_stays_in_the_bounds_of_its_actor() {
    let (api, manager) = Api::managed(|builder| builder);
    let keys = [
        ("k1", Some("acme"), Some("live"), Owner::User("alice".into())),
        ("k2", Some("acme"), Some("test"), Owner::User("bob".into())),
        ("k3", Some("globex"), Some("live"), Owner::User("alice".into())),
        ("k4", None, None, Owner::ServiceAccount),
    ];
    for (byte, (id, organization, environment, owner)) in (1..).zip(keys) {
        let key = KeyRecord::new(id, [byte; 32]).with_owner(owner).with_name("deploy").with_expires_at(t0() + HOUR);
        let key = organization.into_iter().fold(key, KeyRecord::with_organization);
        let key = environment.into_iter().fold(key, KeyRecord::with_environment);
        api.store.keys.insert(key, None, None).await.unwrap().unwrap();
    }
    let own = user("alice").own_keys_only();
    let everywhere = || KeyFilter::all_organizations().name_contains("DEP");
    let here = || KeyFilter::default().name_contains("DEP");
    for (actor, filter, expected) in [
        (admin(), here(), &["k2", "k1"][..]),
        (admin(), KeyFilter::organization("globex"), &[]),
        (admin().in_environment("live"), here().environment("test"), &[]),
        (own.clone(), here().owner(Owner::User("bob".into())), &[]),
        (own.clone(), here().owner(Owner::User("alice".into())), &["k1"]),
        (admin().in_environment("live"), here().ordered(KeyOrder::Expiry), &["k1"]),
        (own.clone(), here().ordered(KeyOrder::Name), &["k1"]),
        (own.clone().across_organizations(), everywhere(), &["k3", "k1"]),
        (operator(), everywhere(), &["k4", "k3", "k2", "k1"]),
        (operator().in_environment("live"), everywhere().ordered(KeyOrder::Name), &["k1", "k3"]),
        (operator(), KeyFilter::organization("globex"), &["k3"]),
        (operator(), here(), &["k4"]),
        (operator(), everywhere().owner_kind(OwnerKind::ServiceAccount), &["k4"]),
    ] {
        let page = manager.list(&actor, filter.clone()).await.unwrap();
        assert_eq!(ids(&page.records), expected, "{filter:?}");
    }
    for actor in [admin(), own.clone()] {
        let refused = manager.list(&actor, everywhere()).await.unwrap_err();
        assert!(matches!(refused, ManageError::TrustedActorRequired), "{refused}");
        assert_eq!(refused.status(), 403);
    }
    // A filter for another owner replaces no key of one's own.
    let others = here().owner(Owner::User("bob".into()));
    let mut replaced = manager.replace_all(&own, others, Rotation::grace_period(HOUR)).await.unwrap();
    assert!(replaced.next().await.is_none());
    assert_eq!(manager.get(&operator(), "k3").await.unwrap().organization(), Some("globex"));
    assert_eq!(manager.get(&admin(), "k3").await.unwrap_err().status(), 404);
}

#[tokio::test]
async fn an_actor_with_a_key_is_never_across_organizations() {
    let (_, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&admin(), NewKey::service_account("x").permissions(everything())).await.unwrap();
    let actor = manager.actor(issued.record().id()).await.unwrap().unwrap();
    let refused = manager.list(&actor, KeyFilter::all_organizations()).await.unwrap_err();
    assert!(matches!(refused, ManageError::TrustedActorRequired), "{refused}");
    let refused = manager.list(&actor.across_organizations(), KeyFilter::default()).await.unwrap_err();
    assert!(matches!(refused, ManageError::PermissionDenied(_)), "{refused}");
}

#[tokio::test]
async fn a_key_is_found_by_its_text_under_every_pepper_and_that_is_no_use() {
    let pepper = |byte| KeyHasher::hmac_sha256(&[byte; 32]).unwrap();
    let hasher = || pepper(3).with_previous(pepper(2)).with_previous(KeyHasher::sha256()).with_upcoming(pepper(4));
    for stored in [pepper(3), pepper(2), KeyHasher::sha256(), pepper(4)] {
        let events = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&events);
        let (api, manager) = Api::managed(|builder| {
            let builder = builder.hasher(hasher()).accept_any_format();
            builder.on_event(move |_| _ = counted.fetch_add(1, Ordering::Relaxed))
        });
        let revoked = |record: KeyRecord| record.with_organization("acme").with_status(Status::Revoked);
        api.store.add("k1", LIVE, &stored, revoked);
        let found = manager.find_by_key(&admin(), &format!(" {LIVE}\n")).await.unwrap().unwrap();
        assert_eq!((found.id().as_str(), found.status()), ("k1", Status::Revoked));
        for unknown in [UNKNOWN, "", "two words", "schlüssel", &"x".repeat(5000)] {
            assert!(manager.find_by_key(&admin(), unknown).await.unwrap().is_none(), "{unknown}");
        }
        manager.flush().await.unwrap();
        let kept = api.store.keys.get(&"k1".into()).await.unwrap().unwrap();
        assert_eq!((kept.use_count(), kept.digest()), (0, found.digest()));
        assert_eq!((api.store.rehashes(), events.load(Ordering::Relaxed)), (0, 0));
    }
}

#[tokio::test]
async fn only_a_trusted_actor_finds_a_key_by_its_text_and_only_one_that_it_sees() {
    let (_, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&user("alice"), NewKey::user("x").permissions(everything())).await.unwrap();
    let find = async |actor: &Actor| manager.find_by_key(actor, text(&issued)).await;
    for actor in [admin(), operator(), user("alice").own_keys_only()] {
        assert_eq!(find(&actor).await.unwrap().unwrap().id(), issued.record().id());
    }
    for actor in [admin().in_organization("globex"), user("bob").own_keys_only(), admin().in_environment("live")] {
        assert!(find(&actor).await.unwrap().is_none(), "{actor:?}");
    }
    let denied = find(&Actor::trusted(Owner::ServiceAccount, Permissions::new())).await.unwrap_err();
    assert!(matches!(denied, ManageError::PermissionDenied(_)));
    let with_a_key = manager.actor(issued.record().id()).await.unwrap().unwrap();
    assert!(matches!(find(&with_a_key).await.unwrap_err(), ManageError::TrustedActorRequired));
}

#[tokio::test]
async fn the_one_who_made_a_key_and_its_chain_are_found() {
    let (api, manager) = Api::managed(|builder| builder);
    let first = manager.issue(&user("alice"), NewKey::user("x").metadata("team", "links")).await.unwrap();
    api.clock.set(t0() + HOUR);
    let second = manager.regenerate(&user("alice"), first.record().id().clone()).await.unwrap();
    let other = reader(&manager).await;
    let api = api.run();
    assert_eq!(api.call(x_api_key(text(&other))).await.status, 200);
    manager.flush().await.unwrap();
    let found = async |filter: KeyFilter| {
        let page = manager.list(&admin(), filter).await.unwrap();
        page.records.iter().map(|record| record.id().clone()).collect::<Vec<_>>()
    };
    let both = vec![second.record().id().clone(), first.record().id().clone()];
    assert_eq!(found(KeyFilter::default().lineage(both[1].clone()).with_revoked()).await, both);
    assert_eq!(found(KeyFilter::default().metadata("team", "links").with_revoked()).await, both);
    assert_eq!(found(KeyFilter::default().created_by(Author::User("alice".into()))).await, both[..1]);
    assert_eq!(found(KeyFilter::default().never_used()).await, both[..1]);
    assert_eq!(found(KeyFilter::default().used_after(t0())).await, [other.record().id().clone()]);
}

/// A page reads a bounded number of keys. Where it stopped says nothing of keys that the actor does
/// not see.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_page_is_short_instead_of_slow_and_its_next_shows_no_other_key() {
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
    use tower_api_key::{KeyFormat, KeyManager, store::SqliteStore};

    const FILL: &str =
        "insert into api_keys (id, digest, version, status, organization, environment, name, permissions,
            wildcards, metadata, expires_at, use_count, lineage)
        with recursive numbers (n) as (select 0 union all select n + 1 from numbers where n < 5000)
        select printf('%s%d', iif(n % 2500 = 2499, 'test', 'live'), n), randomblob(32), 1, 'active', 'acme',
            iif(n % 2500 = 2499, 'test', 'live'), printf('n%05d', n), '{}', 0, '{}', n, 0, printf('k%d', n)
        from numbers";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
    sqlx::raw_sql(FILL).execute(&raw).await.unwrap();
    let manager = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let rare = || KeyFilter::default().name_contains("n02499");
    for (order, first_pages) in [(KeyOrder::Expiry, 1), (KeyOrder::Newest, 0), (KeyOrder::Name, 1)] {
        let (mut filter, mut pages, mut found) = (rare().ordered(order), 0, Vec::new());
        loop {
            let page = manager.list(&admin(), filter.clone()).await.unwrap();
            assert!(pages >= first_pages || page.records.is_empty(), "a page reads about 1,000 keys");
            pages += 1;
            found.extend(page.records);
            let Some(next) = page.next else { break };
            filter = filter.after(next);
        }
        assert_eq!((ids(&found), pages > 4), (vec!["test2499"], true), "{order:?}");
    }
    let confined = admin().in_environment("test");
    for order in [KeyOrder::Newest, KeyOrder::Oldest, KeyOrder::Expiry, KeyOrder::Name] {
        let (mut filter, mut found) = (KeyFilter::default().name_contains("n").ordered(order).limit(1), Vec::new());
        loop {
            let page = manager.list(&confined, filter.clone()).await.unwrap();
            found.extend(page.records);
            let Some(next) = page.next else { break };
            let next_id = found.last().unwrap().id().to_string();
            assert!(next.to_string().ends_with(&next_id), "{order:?}: {next}");
            filter = filter.after(next);
        }
        assert_eq!(found.len(), 2, "{order:?}");
    }
    // A page that finds enough has as many keys as it may.
    for order in [KeyOrder::Newest, KeyOrder::Oldest, KeyOrder::Expiry, KeyOrder::Name] {
        let (mut filter, mut found) = (KeyFilter::default().ordered(order).limit(100), Vec::new());
        loop {
            let page = manager.list(&admin(), filter.clone()).await.unwrap();
            assert_eq!(page.records.len(), if page.next.is_some() { 100 } else { 1 }, "{order:?}");
            found.extend(ids(&page.records).into_iter().map(str::to_owned));
            let Some(next) = page.next else { break };
            filter = filter.after(next);
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 5001, "{order:?}");
    }
}
