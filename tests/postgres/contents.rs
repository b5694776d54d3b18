//! Tests the contents of the database, and its queries.

use std::{fs, path::Path};

use sqlx::AssertSqlSafe;
use tower_api_key::{
    KeyFormat, KeyId, KeyManager, KeyRegistry, KeyStore, Owner,
    store::{KeyFilter, KeyLimit, RegistryError},
};

use crate::{database::Server, of_alice, server, support::registry::secrets_of_new_keys};

/// Returns every file of the data directory, including the write-ahead log, and the server's log.
fn everything_written(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The server may remove files at the same time.
        bytes.extend(if path.is_dir() { everything_written(&path) } else { fs::read(&path).unwrap_or_default() });
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    let mut rest = bytes;
    while let Some(place) = rest.iter().position(|byte| *byte == text[0]) {
        rest = &rest[place..];
        if rest.starts_with(text) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn no_plain_text_of_a_key_is_in_the_data_or_a_log() {
    let server = Server::start(&["log_statement=all", "log_min_duration_statement=0"]);
    let database = server.database().await;
    let manager = KeyManager::builder(database.store().await).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let secrets = secrets_of_new_keys(&manager).await;
    database.sql("checkpoint").await;
    let written = [everything_written(&server.postgres.data()), server.postgres.log().into_bytes()].concat();
    assert!(holds(&written, "a name to be found"), "the search finds what is there");
    assert!(server.postgres.log().contains("a name to be found"), "the log has the values");
    for secret in secrets {
        assert!(!holds(&written, &secret), "plain text of a key");
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_row_that_is_no_record_is_an_error_and_lets_nobody_in() {
    let (_server, database) = server().await;
    let store = database.store().await;
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    for damage in [
        "permissions = '[]'",
        "permissions = '{\"links\": 7}'",
        "metadata = '7'",
        "limits = '[]'",
        "limits = '{\"daily\": -1}'",
        "limits = '{\"daily\": null}'",
        "limits = '{\"daily\": \"none\"}'",
    ] {
        database.sql(&format!("update api_keys set {damage}")).await;
        let found = store.find(&[1; 32].into()).await;
        assert!(matches!(found, Err(sqlx::Error::Decode(_))), "{damage}: {found:?}");
        assert!(store.find(&[0; 32].into()).await.unwrap().is_none(), "an unknown key with a smaller digest");
        database.sql("update api_keys set permissions = '{}', metadata = '[]', limits = null").await;
    }
    assert!(store.find(&[1; 32].into()).await.unwrap().unwrap().permissions().is_empty());
    for impossible in
        ["status = 'odd'", "digest = 'short'", "owner_type = 'bot'", "user_id = null", "owner_type = null"]
    {
        let query = AssertSqlSafe(format!("update api_keys set {impossible}"));
        let mut session = database.session().await;
        sqlx::raw_sql(query).execute(&mut session).await.expect_err(impossible);
    }
}

/// Values that PostgreSQL cannot store are errors; no partial record is stored.
#[tokio::test]
#[ignore = "needs postgres"]
async fn a_nul_is_an_error_to_write_and_nothing_to_find() {
    let (_server, database) = server().await;
    let store = database.store().await;
    store.insert(of_alice("k", 1).with_name("a\0b"), None, None).await.unwrap_err();
    store.insert(of_alice("k", 1).with_metadata("a", "\0"), None, None).await.unwrap_err();
    assert!(store.get(&"k".into()).await.unwrap().is_none());

    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let unknown = KeyId::from("k\0");
    assert!(store.get(&unknown).await.unwrap().is_none());
    assert_eq!(store.revoke(&unknown, None).await.unwrap().err(), Some(RegistryError::NotFound(unknown.clone())));
    assert_eq!(store.remove(&unknown, None).await.unwrap().err(), Some(RegistryError::NotFound(unknown)));
    assert!(store.list(&KeyFilter::default().environment("\0")).await.unwrap().is_empty());
    assert!(store.remove_user(None, "alice\0", None).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn every_statement_goes_through_an_index() {
    let server = Server::start(&[
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "autovacuum=off",
        "log_line_prefix='<%a> '",
    ]);
    let database = server.database().await;
    let store = database.store().await;
    database
        .sql(
            "insert into api_keys select 'k' || n, sha256(n::text::bytea), 0, 'active', 'user', 'u' || n % 4, nullif('o' || n % 9, 'o3'), null, null,
                null, '{}', false, '[]', null, null, null, null, null, null, 0 from generate_series(1, 20000) as n;
             analyze api_keys",
        )
        .await;
    let of_bot = of_alice("bot", 2).with_owner(Owner::ServiceAccount);
    // Often enough that the server also tries a generic plan.
    for round in 0..8 {
        assert!(store.find(&[1; 32].into()).await.unwrap().is_none());
        for filter in [KeyFilter::default(), KeyFilter::organization("acme"), KeyFilter::organization("o7").limit(3)] {
            for filter in [filter.clone(), filter.clone().after("k5"), filter.clone().environment("live")] {
                let owned = filter.clone().owner(Owner::User("u1".into()));
                for filter in [filter, owned.clone(), owned.owner(Owner::ServiceAccount)] {
                    store.list(&filter).await.unwrap();
                }
            }
        }
        let cap = KeyLimit { max: 9, at: std::time::SystemTime::UNIX_EPOCH };
        for record in [of_alice("k", 1), of_bot.clone()] {
            store.insert(record.clone(), Some(cap), None).await.unwrap().unwrap();
            store.insert(record.clone(), None, None).await.unwrap().unwrap_err();
            let stored = store.get(record.id()).await.unwrap().unwrap();
            store.update(stored.with_name("x"), None).await.unwrap().unwrap();
            store.rehash(record.id(), record.digest(), &[99; 32].into(), None).await.unwrap().unwrap();
            let used = tower_api_key::store::UsageDelta::accepted(record.id().clone(), 1, cap.at);
            store.record_usage(&[used]).await.unwrap();
            store.revoke(record.id(), None).await.unwrap().unwrap();
            if round % 2 == 0 || record.owner() == Some(&Owner::ServiceAccount) {
                store.remove(record.id(), None).await.unwrap().unwrap();
            } else {
                assert_eq!(store.remove_user(Some("acme"), "alice", None).await.unwrap().unwrap().len(), 1);
            }
        }
    }
    let log = server.postgres.log();
    let plans = log.split("\n<").filter(|line| line.starts_with("tower-api-key>") && line.contains(" plan:"));
    // The migrations search the catalog for the names of the tables.
    let plans: Vec<_> = plans.filter(|plan| plan.contains("api_keys") && !plan.contains("pg_namespace")).collect();
    assert!(plans.len() > 300, "{} plans", plans.len());
    for plan in &plans {
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
    for (statement, index) in [
        ("where digest >= $1", "api_keys_digest_key"),
        ("then 1 else 2 end) = 2 and organization = $1", "api_keys_list "),
        ("then 1 else 2 end) = 2 and organization is null", "api_keys_list "),
        ("then 3 else 4 end) = 4 and organization = $1", "api_keys_list_of_owner "),
        ("then 5 else 6 end) = 6 and organization = $1", "api_keys_list_of_environment "),
        ("then 7 else 8 end) = 8 and organization = $1", "api_keys_list_of_owner_and_environment "),
        ("select count(*)", "api_keys_that_count_until"),
    ] {
        let mut of_statement = plans.iter().filter(|plan| plan.contains(statement));
        assert!(of_statement.any(|plan| plan.contains(index) && !plan.contains("Sort")), "{statement}: {index}");
    }
}
