//! Tests edits of keys in PostgreSQL.

use tower_api_key::store::PostgresStore;

use crate::{server, support::edits::check_all};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn keys_in_postgres_are_edited_within_the_bounds_of_the_actor() {
    let (_server, database) = server().await;
    check_all(PostgresStore::open(&database.url).await.unwrap()).await;
}
