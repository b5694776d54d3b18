//! Tests a cache handle that prefers availability to freshness.

use std::time::Duration;

use crate::database::{Store, ask, digest, is_accepted, node, record};
use crate::support::bounds::LEASE;
use tokio::time::{sleep, timeout};
use tower_api_key::Status;

#[tokio::test(start_paused = true)]
async fn a_lenient_handle_accepts_what_is_stale_and_only_while_the_store_fails() {
    let (database, channel, node) = node().await;
    let lenient = node.clone().stale_if_error(Duration::from_mins(5));
    assert_eq!((node.revocation_bound(), lenient.revocation_bound()), (LEASE, Duration::from_mins(5)));
    assert!(is_accepted(&node, 1).await);
    channel.set_down(true);
    database.commit(record(1).with_status(Status::Revoked));
    for store in [Store::Fails, Store::Hangs] {
        database.set(store);
        sleep(Duration::from_mins(2)).await;
        assert!(is_accepted(&lenient, 1).await, "{store:?}");
        // The strict handle of the same cache stays strict, and no new key is accepted.
        for result in [timeout(LEASE * 4, ask(&node, 1)).await, timeout(LEASE * 4, ask(&lenient, 2)).await] {
            assert!(!matches!(result, Ok(Ok(_))), "{store:?}");
        }
    }
    database.set(Store::Answers);
    assert!(!is_accepted(&lenient, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_lenient_handle_outlives_a_channel_that_breaks_and_comes_back() {
    let (database, channel, node) = node().await;
    let lenient = node.clone().stale_if_error(Duration::from_mins(5));
    assert!(is_accepted(&node, 1).await && is_accepted(&node, 2).await);
    sleep(Duration::from_mins(8)).await; // what counts is when the key was last known to be good
    database.set(Store::Fails);
    for minute in 0..5 {
        channel.terminate();
        sleep(Duration::from_secs(59)).await;
        assert!(node.status().is_following);
        assert!(is_accepted(&lenient, 1).await, "minute {minute}");
        assert!(ask(&node, 1).await.is_err(), "minute {minute}");
    }
    // A reported change of a key takes effect at once.
    database.commit(record(2).with_status(Status::Revoked));
    sleep(Duration::from_millis(1)).await;
    assert!(ask(&lenient, 2).await.is_err());
    sleep(Duration::from_secs(5)).await;
    assert!(ask(&lenient, 1).await.is_err(), "five minutes after the first break");
}

#[tokio::test(start_paused = true)]
async fn a_lenient_handle_has_its_maximum() {
    let (database, channel, node) = node().await;
    let lenient = node.clone().stale_if_error(Duration::from_mins(5));
    assert!(is_accepted(&node, 1).await);
    channel.set_down(true);
    database.set(Store::Fails);
    sleep(Duration::from_mins(5) - Duration::from_secs(1)).await;
    assert!(is_accepted(&lenient, 1).await);
    sleep(Duration::from_millis(1001)).await;
    assert!(ask(&lenient, 1).await.is_err());
}

/// Results that this node has seen remain true when the channel is down.
#[tokio::test(start_paused = true)]
async fn a_lenient_handle_does_not_accept_what_was_refused_here() {
    for is_removed in [true, false] {
        let (database, channel, node) = node().await;
        let lenient = node.clone().stale_if_error(Duration::from_mins(5));
        assert!(is_accepted(&lenient, 1).await);
        channel.set_down(true);
        sleep(LEASE * 2).await;
        if is_removed {
            database.remove(&digest(1));
        } else {
            database.commit(record(1).with_status(Status::Revoked));
        }
        assert!(!is_accepted(&lenient, 1).await);
        database.set(Store::Fails);
        assert!(ask(&lenient, 1).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn nor_what_was_refused_while_the_channel_came_back() {
    let (database, channel, node) = node().await;
    let lenient = node.clone().stale_if_error(Duration::from_mins(5));
    assert!(is_accepted(&lenient, 1).await);
    channel.set_down(true);
    sleep(LEASE * 2).await;
    database.commit(record(1).with_status(Status::Revoked));
    database.set_latency(Duration::from_secs(10));
    let asked = tokio::spawn({
        let node = node.clone();
        async move { is_accepted(&node, 1).await }
    });
    sleep(Duration::from_millis(1)).await;
    channel.set_down(false);
    while !node.status().is_following {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(!asked.is_finished() && !asked.await.unwrap());
    database.set(Store::Fails);
    assert!(ask(&lenient, 1).await.is_err());
}
