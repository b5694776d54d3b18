//! Tests a store in a database that also holds other tables: a schema, a prefix, a table of the
//! same name.

use tower_api_key::{
    KeyRegistry, KeyStore,
    store::{ChangeFeed, PostgresStore, PostgresStoreBuilder, TablesError},
};

use crate::{
    database::{Database, run},
    of_alice, refused, server,
};

#[track_caller]
fn tables_error(refused: Result<PostgresStore, sqlx::Error>) -> TablesError {
    let Err(sqlx::Error::Configuration(error)) = refused else { panic!("{refused:?}") };
    error.downcast_ref::<TablesError>().unwrap().clone()
}

/// The stores of one database: as it is, with a schema, with a prefix, and with both.
async fn four_stores(database: &Database) -> [PostgresStore; 4] {
    database.sql("create schema auth").await;
    let builder = || PostgresStore::builder(&database.url).connections(4);
    [
        builder().open().await.unwrap(),
        builder().schema("auth").open().await.unwrap(),
        builder().table_prefix("acme_").open().await.unwrap(),
        builder().schema("auth").table_prefix("acme_").open().await.unwrap(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_store_with_a_schema_or_a_prefix_has_its_own_keys_and_its_own_changes() {
    let (_server, database) = server().await;
    let stores = four_stores(&database).await;
    let mut feeds = stores.each_ref().map(PostgresStore::change_feed);
    for feed in &mut feeds {
        feed.subscribe().await.unwrap();
    }
    for (number, store) in (0..).zip(&stores) {
        store.insert(of_alice("k", number), None, None).await.unwrap().unwrap();
        for (other, feed) in (0..).zip(&mut feeds) {
            assert_eq!(feed.heartbeat().await.unwrap().len(), usize::from(number == other), "{number} {other}");
        }
    }
    for (number, store) in (0..).zip(&stores) {
        for digest in 0..4 {
            assert_eq!(store.find(&[digest; 32].into()).await.unwrap().is_some(), digest == number);
        }
    }
    stores[3].remove(&"k".into(), None).await.unwrap().unwrap();
    assert!(stores[2].get(&"k".into()).await.unwrap().is_some());
}

#[cfg(feature = "testkit")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn the_testkit_passes_in_a_schema_with_a_prefix() {
    let (server, _database) = server().await;
    tower_api_key::store::testkit::check(async || {
        let database = server.database().await;
        // Nothing may depend on the search path.
        database.sql("create schema \"user\"; create schema other").await;
        let url = format!("{}?options=-csearch_path%3Dother", database.url);
        PostgresStore::builder(url).schema("user").table_prefix("acme_").open().await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_schema_or_prefix_that_is_no_plain_name_is_refused() {
    let builder = || PostgresStore::builder("postgres://nobody@localhost:1/none");
    for (refused, expected) in [
        (builder().schema("Auth\"").connect().await, TablesError::Schema("Auth\"".into())),
        (builder().table_prefix("a-").open().await, TablesError::Prefix("a-".into())),
    ] {
        assert_eq!(tables_error(refused), expected);
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_store_over_the_pool_of_the_application_creates_its_schema_if_it_is_asked_to() {
    let (_server, database) = server().await;
    let pool = sqlx::PgPool::connect(&database.url).await.unwrap();
    let builder = || PostgresStoreBuilder::from_pool(&pool).schema("auth");
    assert_eq!(tables_error(builder().open().await), TablesError::NoSchema("auth".into()));
    let store = builder().create_schema(true).open().await.unwrap();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    assert_eq!(store.find(&[1; 32].into()).await.unwrap().unwrap().id().as_str(), "k");

    // A role that may create no schema opens one that exists.
    database.sql("create role app login; create schema other authorization app").await;
    let options = database.as_role("app").parse().unwrap();
    let _store = PostgresStoreBuilder::from_options(options).schema("other").create_schema(true).open().await.unwrap();
    let names: Vec<String> = sqlx::query_scalar(
        "select distinct usename::text || ' ' || application_name from pg_stat_activity where usename = 'app'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(names, ["app tower-api-key"]);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_table_of_another_program_is_refused_by_name_and_left_alone() {
    let (_server, database) = server().await;
    let mut session = database.session().await;
    let mut objects = async || {
        let objects = "select string_agg(relname::text || relkind::text, ' ' order by relname) from pg_class where relnamespace = 'public'::regnamespace";
        sqlx::query_scalar::<_, String>(objects).fetch_one(&mut session).await.unwrap()
    };
    for (table, named, remove) in [
        ("create table api_keys (id int, secret text)", "public.api_keys", "drop table api_keys"),
        ("create table api_keys_schema (name text)", "api_keys_schema", "drop table api_keys_schema"),
        ("create view api_keys as select 1", "public.api_keys", "drop view api_keys"),
    ] {
        database.sql(table).await;
        let before = objects().await;
        for refused in [PostgresStore::open(&database.url).await, PostgresStore::connect(&database.url).await] {
            let error = tables_error(refused);
            assert_eq!(error, TablesError::Foreign(named.into()));
            assert!(error.to_string().contains("`table_prefix`"), "{error}");
        }
        assert_eq!(objects().await, before);
        database.sql(remove).await;
    }
    database.sql("create table api_keys (id int, secret text)").await;
    let builder = || PostgresStore::builder(&database.url);
    builder().table_prefix("auth_").open().await.unwrap();
    builder().schema("auth").create_schema(true).open().await.unwrap();
    // Without a schema, the tables are in the first schema of the path.
    database.sql("create schema first").await;
    PostgresStore::open(format!("{}?options=-csearch_path%3Dfirst,public", database.url)).await.unwrap();
}

/// As MIGRATIONS.md says.
#[tokio::test]
#[ignore = "needs postgres"]
async fn tables_made_by_another_tool_are_opened_as_they_are() {
    let (_server, database) = server().await;
    database.sql("create schema auth").await;
    let mut session = database.session().await;
    for (schema, prefix) in [(None, None), (Some("auth"), Some("acme_"))] {
        let builder = || {
            let builder = PostgresStore::builder(&database.url);
            let builder = if let Some(schema) = schema { builder.schema(schema) } else { builder };
            if let Some(prefix) = prefix { builder.table_prefix(prefix) } else { builder }
        };
        for migration in PostgresStore::MIGRATIONS {
            refused(builder().connect().await, "run the migrations");
            for index in migration.indexes {
                run(&mut session, &index.concurrently(schema, prefix).unwrap()).await;
            }
            let script = migration.script(schema, prefix).unwrap();
            run(&mut session, &format!("begin; {script}; commit")).await;
        }
        let mut contents = async || {
            let contents =
                "select string_agg(relname || ' ' || relnamespace || ' ' || xmin::text, ';' order by relname)
                from pg_class where relname like '%api\\_key%'";
            sqlx::query_scalar::<_, String>(contents).fetch_one(&mut session).await.unwrap()
        };
        let by_hand = contents().await;
        for store in [builder().connect().await.unwrap(), builder().open().await.unwrap()] {
            let mut changes = store.change_feed();
            changes.subscribe().await.unwrap();
            store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
            store.remove(&"k".into(), None).await.unwrap().unwrap();
            assert_eq!(changes.heartbeat().await.unwrap().len(), 2);
        }
        assert_eq!(contents().await, by_hand, "open has nothing left to do");
    }
}

/// Each migration, batches included, is written for the schema and the prefix.
#[tokio::test]
#[ignore = "needs postgres"]
async fn tables_in_a_schema_are_migrated_with_their_keys() {
    let (_server, database) = server().await;
    database.sql("create schema auth; create schema other").await;
    for migration in &PostgresStore::MIGRATIONS[..2] {
        database.sql(&migration.script(Some("auth"), Some("acme_")).unwrap()).await;
    }
    database
        .sql(
            "insert into auth.acme_api_keys (id, digest, version, status, permissions, wildcards, metadata, use_count)
                values ('k', decode(repeat('00', 32), 'hex'), 0, 'active', '{}', false, '[[\"team\",\"infra\"]]', 0)",
        )
        .await;
    let url = format!("{}?options=-csearch_path%3Dother", database.url);
    let store = PostgresStore::builder(url).schema("auth").table_prefix("acme_").open().await.unwrap();
    let record = store.find(&[0; 32].into()).await.unwrap().unwrap();
    assert_eq!((record.id().as_str(), record.metadata()["team"].as_str()), ("k", "infra"));
}
