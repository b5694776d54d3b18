//! Tests webhooks over a database.

use tower_api_key::{store::PostgresStore, webhook::WebhookStore};

use crate::{
    database::run,
    server,
    support::{t0, webhooks::check},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn events_reach_their_endpoints_from_a_database() {
    let (_server, database) = server().await;
    Box::pin(check(database.store().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_role_that_could_change_keys_before_the_migration_sends_webhooks_after_it() {
    let (_server, database) = server().await;
    let mut session = database.session().await;
    for migration in PostgresStore::MIGRATIONS.iter().filter(|migration| migration.version < 5) {
        run(&mut session, &migration.script(None, None).unwrap()).await;
    }
    run(
        &mut session,
        "create role node login; create role reader login;
         grant select, insert, update, delete on api_keys to node; grant select on api_keys to reader;
         grant select on api_keys_schema to node, reader",
    )
    .await;
    database.store().await;
    Box::pin(check(PostgresStore::connect(database.as_role("node")).await.unwrap())).await;
    let reader = PostgresStore::connect(database.as_role("reader")).await.unwrap();
    reader.queue_webhooks("once", t0(), 1).await.unwrap_err();
    reader.dead_webhooks("once", 1).await.unwrap_err();
}
