//! Tests how many units a node asks for, and when.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower_api_key::limit::{Limit, Limits, Plans, Rate, TopUpId};

use super::{
    Node, OneKey, record_of, seconds, steady,
    unsteady::{Trouble, Unsteady},
    waits,
};

/// Sends a request every `pause`, whether or not those before are answered. Returns how many of
/// those after `from` have waited.
async fn waited(node: &Node, requests: u32, pause: Duration, from: u32) -> usize {
    let mut calls = Vec::new();
    for _ in 0..requests {
        let node = node.clone();
        calls.push(tokio::spawn(async move {
            let start = Instant::now();
            assert_eq!(node.call().await, 200);
            start.elapsed()
        }));
        sleep(pause).await;
    }
    let mut waited = 0;
    for call in calls.into_iter().skip(from as usize) {
        waited += usize::from(call.await.unwrap() > Duration::ZERO);
    }
    waited
}

#[tokio::test(start_paused = true)]
async fn a_key_in_use_by_many_clients_stops_waiting_for_the_store() {
    for (delay, pause, number) in [(2, 1, 0), (20, 2, 0), (100, 10, 0), (2, 1, 1), (20, 2, 1)] {
        let limit = [Limit::rate("burst", Rate::per_second(10_000)), Limit::credits("calls")][number].clone();
        let store = Unsteady::new(1, Trouble { delay: Duration::from_millis(delay), ..Trouble::default() });
        let node = Node::new(&store, [limit.clone()]);
        if number == 1 {
            node.top_up(1_000_000).await;
        }
        let waited = waited(&node, 3_000, Duration::from_millis(pause), 2_000).await;
        assert_eq!(waited, 0, "of 1,000, one each {pause} ms, while a call takes {delay} ms, limit {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_below_a_slow_rate_keeps_its_burst() {
    let store = steady();
    let node = Node::new(&store, [Limit::rate("burst", Rate::per_minute(30).burst(20))]);
    waits(&node, 200, 3.0).await;
    let passed = node.passed(20).await;
    assert!(passed >= 10, "{passed} of a burst of 20, after two thirds of the rate");
}

#[tokio::test(start_paused = true)]
async fn clients_beyond_a_rate_cause_one_call_in_a_tick() {
    let store = steady();
    let node = Node::new(&store, [Limit::rate("burst", Rate::per_second(100).burst(100))]);
    let calls = async |requests: u32| {
        let before = store.book.calls();
        for _ in 0..requests {
            let node = node.clone();
            tokio::spawn(async move { node.call().await });
            sleep(Duration::from_millis(2)).await;
        }
        store.book.calls() - before
    };
    calls(1_500).await;
    let calls = calls(500).await;
    assert!(calls <= 25, "{calls} calls in a second");
}

#[tokio::test(start_paused = true)]
async fn idle_leases_come_back_in_time() {
    let store = steady();
    let plans = Plans::new().plan("plan", [Limit::credits("calls")]);
    let limits = Limits::leased(plans, store.clone()).lease(Duration::from_secs(10)).build().unwrap();
    let record = |number: u32| record_of(&format!("key_{number}"));
    let mut calls = Vec::new();
    for number in 0..4_000 {
        let once = TopUpId::new(number.to_string()).unwrap();
        limits.top_up(&record(number), "calls", 100, &once).await.unwrap();
        let node = Node::over(OneKey(Arc::new(Mutex::new(record(number)))), limits.clone());
        calls.push(tokio::spawn(async move { node.call().await }));
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    seconds(17.0).await;
    let mut leased = 0;
    for number in 0..4_000 {
        leased += limits.balance(&record(number), "calls").await.unwrap().unwrap().leased;
    }
    assert_eq!(leased, 0, "17 s after the last request");
}
