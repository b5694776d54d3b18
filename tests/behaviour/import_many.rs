//! Many keys of another system are imported, each with what is known of it there.

use std::time::Duration;

use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry, Owner, Status,
    manage::{ImportKey, ManageError, NewKey},
    store::{MemoryStore, RegistryError},
};

use crate::support::{
    Api,
    registry::{admin, everything, user},
    t0,
};

const DAY: Duration = Duration::from_hours(24);

fn bot(byte: u8, name: &str) -> ImportKey {
    ImportKey::digest([byte; 32], NewKey::service_account(name).grant("links", "read"))
}

async fn a_key_comes_with_its_history(store: impl KeyRegistry) {
    let builder = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).accept_any_format();
    let manager = builder.clock(t0).build().unwrap();
    let key = "51FwqftsmMDHHbJAMEXXHCgG".parse().unwrap();
    let whole = NewKey::user("laptop").expires_at(t0() + DAY).metadata("team", "core").grant("links", "read");
    let whole = ImportKey::key(&key, whole)
        .id("4711")
        .owner(Owner::User("alice".into()))
        .created_at(t0() - 9 * DAY)
        .used(12, t0() - DAY)
        .status(Status::Disabled);
    let revoked = bot(9, "old").status(Status::Revoked);
    let done = manager.import_many(&admin(), vec![whole, bot(7, ""), revoked, bot(9, "again")]).await.unwrap();
    assert!(matches!(done[1], Err(ManageError::Name)), "a wrong key does not stop the others");
    assert!(matches!(done[3], Err(ManageError::Registry(RegistryError::DuplicateDigest))));
    let record = manager.get(&admin(), "4711").await.unwrap();
    assert_eq!(&record, done[0].as_ref().unwrap());
    assert_eq!((record.name(), record.owner()), (Some("laptop"), Some(&Owner::User("alice".into()))));
    assert_eq!((record.created_at(), record.expires_at()), (Some(t0() - 9 * DAY), Some(t0() + DAY)));
    assert_eq!((record.use_count(), record.last_used_at()), (12, Some(t0() - DAY)));
    assert_eq!((record.status(), record.organization()), (Status::Disabled, Some("acme")));
    assert_eq!((record.lineage().as_str(), record.metadata()["team"].as_str()), ("4711", "core"));
    let revoked = manager.get(&admin(), done[2].as_ref().unwrap().id().clone()).await.unwrap();
    assert_eq!((revoked.status(), revoked.revoked_at()), (Status::Revoked, Some(t0())));
    manager.enable(&admin(), "4711").await.unwrap();
}

#[tokio::test]
async fn a_key_comes_with_its_history_in_memory() {
    a_key_comes_with_its_history(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_key_comes_with_its_history_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    a_key_comes_with_its_history(store).await;
}

#[cfg(all(feature = "testkit", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_key_comes_with_its_history_in_postgres() {
    let server = crate::postgres::Server::start(&[]);
    a_key_comes_with_its_history(server.database().await.store().await).await;
}

#[tokio::test]
async fn a_thousand_keys_are_imported_and_no_more() {
    let (_, manager) = Api::managed(|builder| builder);
    let key = |number: u16| {
        let mut digest = [0; 32];
        digest[..2].copy_from_slice(&number.to_be_bytes());
        ImportKey::digest(digest, NewKey::service_account("x"))
    };
    let too_many = manager.import_many(&admin(), (0..1_001).map(key).collect()).await;
    assert!(matches!(too_many, Err(ManageError::TooManyKeys { most: 1_000, .. })));
    let done = manager.import_many(&admin(), (0..1_000).map(key).collect()).await.unwrap();
    assert!(done.iter().all(Result::is_ok), "none of the refused import was stored");
}

#[tokio::test]
async fn an_import_gives_nothing_that_the_actor_lacks() {
    let (_, manager) = Api::managed(|builder| builder);
    let new = NewKey::user("own").permissions(everything()).expires_at(t0() + DAY);
    let own = manager.issue(&user("alice"), new).await.unwrap();
    let alice = manager.actor(own.record().id()).await.unwrap().unwrap();
    let of_bob = || ImportKey::digest([5; 32], NewKey::user("x")).owner(Owner::User("bob".into()));
    for (actor, key, what) in [
        (&alice, ImportKey::digest([1; 32], NewKey::user("x").grant("stats", "read")), "Escalation"),
        (&alice, ImportKey::digest([2; 32], NewKey::user("x").expires_at(t0() + 2 * DAY)), "OutlivesActor"),
        (&alice, of_bob(), "ForeignOwner"),
        (&user("alice"), of_bob(), "ForeignOwner"),
        (&admin().own_keys_only(), of_bob(), "ForeignOwner"),
        (&user("alice").own_keys_only(), bot(3, "x"), "OwnKeysOnly"),
        (&admin(), ImportKey::digest([4; 32], NewKey::user("x")), "UserRequired"),
        (&admin(), bot(6, "x").created_at(t0() + DAY), "Expiry"),
        (&admin(), bot(6, "x").used(1, t0() + DAY), "Expiry"),
    ] {
        let done = manager.import_many(actor, vec![key]).await.unwrap().remove(0);
        assert!(format!("{:?}", done.unwrap_err()).starts_with(what), "{what}");
    }
    let own_key = ImportKey::digest([8; 32], NewKey::user("x")).owner(Owner::User("alice".into()));
    let record = manager.import_many(&alice, vec![own_key]).await.unwrap().remove(0).unwrap();
    assert_eq!((record.owner(), record.expires_at()), (alice.owner(), Some(t0() + DAY)), "it ends with its maker");
}

#[tokio::test]
async fn an_id_that_no_path_could_name_is_refused() {
    let (_, manager) = Api::managed(|builder| builder);
    for id in ["", "self", "bulk", "import", "rotate", ".", "..", "a/b", "a b", "a\nb", &"x".repeat(101)] {
        let done = manager.import_many(&admin(), vec![bot(1, "x").id(id)]).await.unwrap().remove(0);
        assert!(matches!(done, Err(ManageError::Id)), "{id:?}");
    }
    let keys = vec![bot(1, "x").id("legacy-1"), bot(2, "y").id("legacy-1")];
    let done = manager.import_many(&admin(), keys).await.unwrap();
    assert!(done[0].is_ok());
    assert!(matches!(done[1], Err(ManageError::Registry(RegistryError::DuplicateId(_)))));
}

/// Names, ids, owners, roles and the rest are stored, shown and logged as they are.
#[tokio::test]
async fn no_text_beside_an_imported_key_may_contain_it() {
    let (api, manager) = Api::managed(tower_api_key::manage::KeyManagerBuilder::accept_any_format);
    let key: tower_api_key::ApiKey = "51FwqftsmMDHHbJAMEXXHCgG".parse().unwrap();
    let text = || format!("x{}y", key.expose());
    let new = || NewKey::service_account("legacy");
    let all = [
        NewKey::service_account(text()),
        new().grant(text(), "read"),
        new().grant("links", text()),
        new().roles([text()]),
        new().environment(text()),
        new().metadata(text(), "x"),
        new().metadata("x", text()),
        new().plan(text()),
        new().limit(text(), 7),
    ];
    let actors = [
        admin().because(text()),
        admin().with_request_id(text()),
        admin().with_idempotency_key(text()),
        admin().in_environment("test"),
    ];
    for (number, new) in all.into_iter().enumerate() {
        let refused = manager.import(&admin(), &key, new.clone()).await;
        assert!(matches!(refused, Err(ManageError::KeyShown)), "{number}: {refused:?}");
        let refused = manager.import_many(&admin(), vec![ImportKey::key(&key, new)]).await.unwrap();
        assert!(matches!(refused[..], [Err(ManageError::KeyShown)]), "{number}");
    }
    for (number, actor) in actors.into_iter().enumerate() {
        let new = if number == 3 { new().environment(text()) } else { new() };
        let refused = manager.import(&actor, &key, new).await;
        assert!(matches!(refused, Err(ManageError::KeyShown)), "{number}: {refused:?}");
    }
    let import = || ImportKey::key(&key, new());
    for import in [import().id(text()), import().owner(Owner::User(text()))] {
        let refused = manager.import_many(&admin(), vec![import]).await.unwrap();
        assert!(matches!(refused[..], [Err(ManageError::KeyShown)]));
    }
    assert_eq!(api.store.keys.list(&tower_api_key::store::KeyFilter::default()).await.unwrap(), []);
    manager.import(&admin(), &key, new()).await.unwrap();
}
