//! Tests uses that once broke limits of many nodes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tower_api_key::{
    KeyId, Principal, Require,
    limit::{Limit, Limits, Plans, Rate, Reservation, TopUpId},
};

use super::{
    Node, OneKey, record, seconds, steady,
    unsteady::{Trouble, Unsteady},
    waits,
};

#[tokio::test(start_paused = true)]
async fn a_request_beyond_a_rate_is_rejected_also_if_the_store_is_slow() {
    let store = Unsteady::new(1, Trouble { delay: Duration::from_millis(20), ..Trouble::default() });
    let node = Node::new(&store, [Limit::rate("burst", Rate::per_second(100).burst(100))]);
    let mut calls = Vec::new();
    for _ in 0..3_000 {
        let node = node.clone();
        calls.push(tokio::spawn(async move {
            let start = Instant::now();
            (node.call().await, start.elapsed())
        }));
        seconds(0.001).await;
    }
    let (mut longest, mut statuses) = (Duration::ZERO, BTreeMap::<u16, usize>::new());
    for call in calls {
        let (status, took) = call.await.unwrap();
        longest = longest.max(took);
        *statuses.entry(status).or_default() += 1;
    }
    assert!(longest < Duration::from_secs(1), "a request waits for {longest:?}: {statuses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_cost_takes_no_more_than_it_needs() {
    let store = steady();
    let node = Node::new(&store, [Limit::rate("burst", Rate::per_minute(6).burst(100))]);
    let mut statuses = Vec::new();
    for cost in [3_u32, 1, 1, 2, 2, 15] {
        statuses.push(match cost {
            1 => node.call().await,
            _ => node.guarded(Require::authenticated().costs(cost)).await,
        });
    }
    assert_eq!(statuses, [200; 6], "24 of 100 are asked for");
}

#[tokio::test(start_paused = true)]
async fn credits_that_a_reservation_gives_back_reach_other_nodes() {
    let store = steady();
    let node = || Node::new(&store, [Limit::credits("calls")]);
    let (one, other) = (node(), node());
    one.top_up(1000).await;
    assert_eq!(one.handled(async |key| key.reserve(999).await.unwrap().settle(1)).await, 200);
    let mut passed = 0;
    for _ in 0..120 {
        passed += usize::from(other.call().await == 200);
        assert_eq!(one.call().await, 200);
        seconds(0.5).await;
    }
    assert!(passed > 0, "no request passed in 60 s, and one node holds 900 credits");
}

#[tokio::test(start_paused = true)]
async fn large_reservations_lose_no_credits() {
    let node = Node::new(&steady(), [Limit::credits("calls")]);
    node.top_up(1 << 40).await;
    let cancelled = async |key: Principal| {
        let both = [key.reserve(3_000_000_000).await.unwrap(), key.reserve(3_000_000_000).await.unwrap()];
        both.into_iter().for_each(Reservation::cancel);
    };
    assert_eq!(node.handled(cancelled).await, 200);
    node.limits.flush().await.unwrap();
    assert_eq!(node.limits.balance(&record(), "calls").await.unwrap().unwrap().spent, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_is_dropped_stops_no_request() {
    let store = Unsteady::new(1, Trouble { delay: Duration::from_millis(100), ..Trouble::default() });
    let node = Node::new(&store, [Limit::rate("burst", Rate::per_second(10))]);
    assert_eq!(node.call().await, 200);
    seconds(3.0).await;
    let flush = tokio::time::timeout(Duration::from_millis(50), node.limits.flush());
    assert_eq!(tokio::join!(node.call(), flush).0, 200);
}

#[tokio::test(start_paused = true)]
async fn returns_that_hang_delay_no_other_key() {
    let store = steady();
    let rate = Limit::rate("burst", Rate::per_second(1000));
    let plans = Plans::new().plan("plan", [rate]).plan("paid", [Limit::credits("calls")]);
    let limits = Limits::leased(plans, store.clone()).build().unwrap();
    let paid = record().with_plan("paid").with_meter(KeyId::from("paid"));
    limits.top_up(&paid, "calls", 10_000, &TopUpId::new("x").unwrap()).await.unwrap();
    assert_eq!(Node::over(OneKey(Arc::new(Mutex::new(paid))), limits.clone()).call().await, 200);
    store.set(Trouble { delay: Duration::from_millis(2), returns_hang: true, ..Trouble::default() });
    let node = Node::over(OneKey(Arc::new(Mutex::new(record()))), limits.clone());
    waits(&node, 200, 0.02).await;
    let waits = waits(&node, 500, 0.02).await;
    let waited = waits.iter().filter(|wait| **wait > Duration::ZERO).count();
    assert_eq!(waited, 0, "of 500; the longest: {:?}", waits.iter().max());
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_cancelled_during_a_call_loses_no_credits() {
    let store = Unsteady::new(1, Trouble { delay: Duration::from_millis(20), ..Trouble::default() });
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(1 << 40).await;
    let cancelled = async |key: Principal| {
        let one = key.reserve(3_000_000_000).await.unwrap();
        let cancel = async {
            seconds(0.01).await;
            one.cancel();
        };
        tokio::join!(key.reserve(3_000_000_000), cancel).0.unwrap().cancel();
    };
    assert_eq!(node.handled(cancelled).await, 200);
    node.limits.flush().await.unwrap();
    assert_eq!(node.limits.balance(&record(), "calls").await.unwrap().unwrap().spent, 1);
}
