//! Tests webhooks over a database.

use crate::{server, support::webhooks::check};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn events_reach_their_endpoints_from_a_database() {
    let (_server, database) = server().await;
    Box::pin(check(database.store().await)).await;
}
