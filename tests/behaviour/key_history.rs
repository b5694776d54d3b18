//! Tests the events that an actor sees, and those of changes by other programs.

use std::time::Duration;

use crate::support::registry::{admin, everything, id, reader, user};
use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry, Owner, Permissions,
    manage::{Actor, EventCursor, EventFilter, KeyEventKind, ManageError, NewKey, Rotation},
    store::MemoryStore,
};

fn manager() -> KeyManager {
    manager_of(MemoryStore::new())
}

fn manager_of(store: impl KeyRegistry) -> KeyManager {
    let live = KeyFormat::new("acme_live").unwrap();
    KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).environment("live", live).build().unwrap()
}

/// Returns the events of all pages, as `kind key`.
async fn history(manager: &KeyManager, actor: &Actor, filter: EventFilter) -> Result<Vec<String>, ManageError> {
    let (mut filter, mut all) = (filter.limit(2), Vec::new());
    loop {
        let page = manager.events(actor, filter.clone()).await?;
        all.extend(page.events.iter().map(|event| format!("{} {}", event.kind(), event.key_id())));
        let Some(next) = page.next else { return Ok(all) };
        assert_eq!(page.events.len(), 2, "a page that is not the last one is full");
        filter = filter.after(next);
    }
}

#[tokio::test]
async fn an_actor_sees_what_happened_to_the_keys_that_it_sees() {
    let manager = manager();
    let globex = Actor::trusted(Owner::User("eve".into()), everything()).in_organization("globex");
    let alice = user("alice");
    let own = manager.issue(&alice, NewKey::user("own")).await.unwrap();
    let gone = manager.issue(&alice, NewKey::user("gone")).await.unwrap();
    let live = manager.issue(&admin(), NewKey::service_account("live").environment("live")).await.unwrap();
    let other = manager.issue(&globex, NewKey::user("other")).await.unwrap();
    manager.remove(&admin().because("she has left"), id(&gone)).await.unwrap();
    let (own, gone, live, other) = (id(&own), id(&gone), id(&live), id(&other));
    let of = |kind: &str, id: &str| format!("{kind} {id}");
    let all = [of("removed", gone), of("issued", live), of("issued", gone), of("issued", own)];
    let any = EventFilter::default;

    assert_eq!(history(&manager, &admin(), any()).await.unwrap(), all);
    let asked = history(&manager, &admin(), EventFilter::organization("globex")).await.unwrap();
    assert_eq!(asked, [""; 0], "another organization than that of the actor");
    assert_eq!(history(&manager, &globex, any()).await.unwrap(), [of("issued", other)]);
    assert_eq!(
        history(&manager, &admin(), any().key(gone)).await.unwrap(),
        [of("removed", gone), of("issued", gone)],
        "a removed key has a history"
    );
    let kind = any().kind(KeyEventKind::Removed);
    assert_eq!(history(&manager, &admin(), kind).await.unwrap(), [of("removed", gone)]);
    let confined = admin().in_environment("live");
    assert_eq!(history(&manager, &confined, any()).await.unwrap(), [of("issued", live)]);
    assert_eq!(history(&manager, &confined, any().environment("live")).await.unwrap(), [of("issued", live)]);
    assert_eq!(history(&manager, &confined, any().environment("test")).await.unwrap(), [""; 0]);

    let only_own = alice.clone().own_keys_only();
    assert_eq!(history(&manager, &only_own, any()).await.unwrap(), [of("issued", own)]);
    assert_eq!(history(&manager, &only_own, any().key(own)).await.unwrap(), [of("issued", own)]);
    let mut others = any();
    others.owner = Some(Owner::User("bob".into()));
    assert_eq!(history(&manager, &only_own, others).await.unwrap(), [""; 0]);
    let service = admin().own_keys_only();
    assert_eq!(history(&manager, &service, any()).await.unwrap(), [""; 0]);
    for (actor, key) in [
        (&admin(), other),
        (&admin(), "unknown"),
        (&confined, own),
        (&only_own, live),
        (&only_own, gone),
        (&service, own),
    ] {
        let seen = history(&manager, actor, any().key(key)).await;
        assert!(matches!(seen, Err(ManageError::NotFound(_))), "{actor:?} {key}: {seen:?}");
    }
    let nobody = Actor::trusted(Owner::User("bob".into()), Permissions::new()).in_organization("acme");
    let refused = manager.events(&nobody, any()).await.map(|page| page.events.len());
    assert!(matches!(refused, Err(ManageError::PermissionDenied(_))), "{refused:?}");
}

async fn an_actor_across_organizations_sees_what_happened_in_all_of_them(store: impl KeyRegistry) {
    let manager = manager_of(store);
    let everywhere = Actor::trusted(Owner::User("operator".into()), everything());
    let globex = everywhere.clone().in_organization("globex");
    let own = manager.issue(&user("alice"), NewKey::user("own")).await.unwrap();
    let live = manager.issue(&globex, NewKey::service_account("live").environment("live")).await.unwrap();
    let none = manager.issue(&everywhere, NewKey::service_account("none")).await.unwrap();
    manager.remove(&globex, id(&live)).await.unwrap();
    let (own, live, none) = (id(&own), id(&live), id(&none));
    let of = |kind: &str, id: &str| format!("{kind} {id}");
    let all = [of("removed", live), of("issued", none), of("issued", live), of("issued", own)];
    let any = EventFilter::default;
    let operator = everywhere.clone().across_organizations();
    assert_eq!(history(&manager, &operator, any()).await.unwrap(), all);
    assert_eq!(history(&manager, &operator, EventFilter::all_organizations()).await.unwrap(), all);
    let admin_of_all = admin().across_organizations();
    assert_eq!(history(&manager, &admin_of_all, any()).await.unwrap(), all);
    for (filter, expected) in [
        (any().key(live), &[of("removed", live), of("issued", live)][..]),
        (any().key(own), &[of("issued", own)]),
        (any().environment("live"), &[of("removed", live), of("issued", live)]),
        (any().kind(KeyEventKind::Removed), &[of("removed", live)]),
        (EventFilter::organization("acme"), &[of("issued", own)]),
    ] {
        assert_eq!(history(&manager, &operator, filter.clone()).await.unwrap(), expected, "{filter:?}");
    }
    let confined = operator.clone().in_environment("live");
    assert_eq!(history(&manager, &confined, any()).await.unwrap(), [of("removed", live), of("issued", live)]);
    let only_own = Actor::trusted(Owner::User("alice".into()), everything()).across_organizations().own_keys_only();
    assert_eq!(history(&manager, &only_own, any()).await.unwrap(), [of("issued", own)]);
    let unknown = history(&manager, &operator, any().key("unknown")).await;
    assert!(matches!(unknown, Err(ManageError::NotFound(_))), "{unknown:?}");

    // No other actor sees more than before.
    assert_eq!(history(&manager, &everywhere, any()).await.unwrap(), [of("issued", none)]);
    for actor in [&everywhere, &globex] {
        let refused = history(&manager, actor, EventFilter::all_organizations()).await;
        assert!(matches!(refused, Err(ManageError::TrustedActorRequired)), "{refused:?}");
    }
}

#[tokio::test]
async fn an_actor_across_organizations_in_memory() {
    an_actor_across_organizations_sees_what_happened_in_all_of_them(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn an_actor_across_organizations_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    an_actor_across_organizations_sees_what_happened_in_all_of_them(store).await;
}

#[cfg(all(feature = "testkit", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn an_actor_across_organizations_in_postgres() {
    let server = crate::postgres::Server::start(&[]);
    let store = server.database().await.store().await;
    an_actor_across_organizations_sees_what_happened_in_all_of_them(store).await;
}

#[tokio::test]
async fn an_actor_across_organizations_sees_the_events_of_every_key() {
    let manager = manager();
    let globex = Actor::trusted(Owner::User("eve".into()), everything()).in_organization("globex");
    let here = reader(&manager).await;
    let there = manager.issue(&globex, NewKey::user("there")).await.unwrap();
    let gone = manager.issue(&globex, NewKey::user("gone")).await.unwrap();
    manager.remove(&globex, id(&gone)).await.unwrap();
    let operator = Actor::trusted(Owner::User("operator".into()), everything()).across_organizations();
    let (of_globex, any) = (|| EventFilter::organization("globex"), EventFilter::default);

    for issued in [&here, &there] {
        let seen = history(&manager, &operator, any().key(id(issued))).await.unwrap();
        assert_eq!(seen, [format!("issued {}", id(issued))]);
    }
    let removed = [format!("removed {}", id(&gone)), format!("issued {}", id(&gone))];
    assert_eq!(history(&manager, &operator, of_globex().key(id(&gone))).await.unwrap(), removed);
    assert_eq!(history(&manager, &operator, any().key(id(&gone))).await.unwrap(), removed);
    assert_eq!(history(&manager, &operator, of_globex()).await.unwrap().len(), 3);
    assert_eq!(history(&manager, &operator, any()).await.unwrap().len(), 4, "those of all organizations");
    let confined = operator.in_environment("live");
    let hidden = history(&manager, &confined, any().key(id(&there))).await;
    assert!(matches!(hidden, Err(ManageError::NotFound(_))), "{hidden:?}");
}

#[tokio::test]
async fn a_consumer_may_begin_with_the_newest_event() {
    let manager = manager();
    assert_eq!(manager.newest_event().await.unwrap(), Some(EventCursor::START));
    reader(&manager).await;
    let now = manager.newest_event().await.unwrap().unwrap();
    assert_eq!(manager.events_since(now, 9).await.unwrap().unwrap().len(), 0);
    let next = reader(&manager).await;
    let events = manager.events_since(now, 9).await.unwrap().unwrap();
    assert_eq!(events.iter().map(|event| event.key_id().as_str()).collect::<Vec<_>>(), [id(&next)]);
}

#[tokio::test]
async fn an_actor_with_a_key_sees_the_events_of_its_own_key() {
    let manager = manager();
    let new = NewKey::service_account("robot").permissions(everything());
    let robot = manager.issue(&admin(), new).await.unwrap();
    let other = reader(&manager).await;
    let actor = manager.actor(robot.record().id()).await.unwrap().unwrap().own_keys_only();
    let seen = history(&manager, &actor, EventFilter::default()).await.unwrap();
    assert_eq!(seen, [format!("issued {}", id(&robot))]);
    let of_other = history(&manager, &actor, EventFilter::default().key(id(&other))).await;
    assert!(matches!(of_other, Err(ManageError::NotFound(_))));
}

#[tokio::test]
async fn an_event_names_its_author_its_reason_and_never_the_key() {
    let manager = manager();
    let actor = user("alice").because("leaked").with_request_id("r-1").with_address([192, 0, 2, 7].into());
    let old = manager.issue(&actor, NewKey::user("laptop")).await.unwrap();
    let new = manager.rotate(&actor, id(&old), Rotation::grace_period(Duration::from_hours(1))).await.unwrap();
    let page = manager.events(&actor, EventFilter::default()).await.unwrap();
    assert_eq!(page.events.len(), 3);
    let shown = format!("{page:?}");
    for issued in [&old, &new] {
        assert!(!shown.contains(&issued.key().expose()[5..]), "the plain text of a key");
        let digest = issued.record().digest().as_bytes();
        assert!(!shown.contains(&format!("{digest:?}")), "a digest");
    }
    for event in &page.events {
        let context = (event.reason(), event.request_id(), event.address());
        assert_eq!(context, (Some("leaked"), Some("r-1"), Some([192, 0, 2, 7].into())));
        assert_eq!(event.author(), &tower_api_key::Author::User("alice".into()));
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_change_by_hand_has_an_event_in_a_sqlite_file() {
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
    use tower_api_key::{
        Author, KeyRegistry,
        manage::{EventCursor, FieldChange},
        store::{RegistryError, SqliteStore},
    };

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::builder(&path).table_prefix("acme_").open().await.unwrap();
    let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let issued = reader(&manager).await;
    let read = issued.record().clone();
    manager.disable(&admin(), id(&issued)).await.unwrap();
    let hand = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
    for statement in [
        "update acme_api_keys set name = 'new'",
        "update acme_api_keys set use_count = 7, last_used_at = 1, expiry_notified = 3",
        "update acme_api_keys set name = 'new', status = 'disabled'",
        "begin; update acme_api_keys set name = 'never'; rollback",
        "update acme_api_keys set status = 'active', version = version + 1",
        "update acme_api_keys set permissions = '{\"links\":[\"update\"]}', metadata = '{\"a\":\"b\"}', expires_at = 5000000",
        "update acme_api_keys set digest = zeroblob(32), name = null",
        "update acme_api_keys set status = 'revoked'",
        "delete from acme_api_keys",
        "insert into acme_api_keys (id, digest, version, status, organization, permissions, wildcards, metadata, use_count)
            values ('by hand', zeroblob(32), 4, 'active', 'acme', '{}', 0, '{}', 0)",
    ] {
        sqlx::raw_sql(statement).execute(&hand).await.unwrap();
    }
    let events = store.events_since(EventCursor::START, 99).await.unwrap().unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            let fields: Vec<_> = event.changes().iter().map(|FieldChange { field, .. }| field.as_str()).collect();
            format!("{} {} {}", event.kind(), event.version(), fields.join(" ")).trim_end().to_owned()
        })
        .collect();
    assert_eq!(
        seen,
        [
            "issued 0 name status permissions",
            "disabled 1 status",
            "edited 2 name",
            "enabled 3 status",
            "edited 4 permissions metadata expires_at",
            "rehashed 5 name",
            "revoked 6 status",
            "removed 6 status permissions metadata expires_at",
            "issued 4 status",
        ]
    );
    assert!(events[2..].iter().all(|event| *event.author() == Author::System && event.organization() == Some("acme")));
    let late = store.update(read.with_name("late"), None).await.unwrap();
    assert_eq!(late.err(), Some(RegistryError::NotFound(id(&issued).into())));
    store.remove(&"by hand".into(), None).await.unwrap().unwrap();
    let events = store.events_since(events.last().unwrap().cursor().unwrap(), 99).await.unwrap().unwrap();
    assert_eq!(events.len(), 1, "a change by the library has no second event: {events:?}");
}
