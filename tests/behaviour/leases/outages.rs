//! The store of meters is slow, fails, hangs or panics.

use super::*;
use tower_api_key::limit::{Outage, Quota};

/// Every call is lost.
fn down() -> Trouble {
    Trouble { lost_calls: 100, ..Trouble::default() }
}

fn rate(outage: Outage) -> (Unsteady, Node) {
    let store = steady();
    let limits = [Limit::rate("burst", Rate::per_second(100).burst(50))];
    let node = Node::with(&store, limits, |builder| builder.nodes(10).while_store_fails(outage));
    (store, node)
}

/// Sends requests for so many seconds, 1,000 a second, and returns how many had each status.
async fn statuses(node: &Node, lasts: u64) -> [usize; 3] {
    let (mut counts, until) = ([0; 3], Instant::now() + Duration::from_secs(lasts));
    while Instant::now() < until {
        let status = node.call().await;
        counts[[200, 429, 503].into_iter().position(|known| known == status).unwrap()] += 1;
        seconds(0.001).await;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_rate_falls_back_to_the_share_of_a_node() {
    let (store, node) = rate(Outage::Share);
    store.set(down());
    let [passed, limited, failed] = statuses(&node, 10).await;
    // Ten a second. The first request finds the failure, and waits for it.
    assert!((90..=100).contains(&passed), "{passed} passed");
    assert!(limited > 1_000 && failed == 0, "{limited} limited, {failed} failed");
    store.set(Trouble::default());
    seconds(1.0).await;
    let [passed, _, failed] = statuses(&node, 1).await;
    assert!((100..=150).contains(&passed) && failed == 0, "{passed} passed afterwards");
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_also_for_a_rate_that_is_nearly_used_up() {
    let store = steady();
    let limits = [Limit::rate("burst", Rate::per_minute(1).burst(10))];
    let node = Node::with(&store, limits, |builder| builder.while_store_fails(Outage::Closed));
    assert_eq!(node.passed(8).await, 8);
    seconds(3.0).await;
    store.set(down());
    assert_eq!(node.call().await, 503);
    store.set(Trouble::default());
    // The first request only has the store asked.
    assert_eq!(node.call().await, 503);
    seconds(1.0).await;
    assert_eq!(node.call().await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_share_begins_without_a_burst() {
    let (store, node) = rate(Outage::Share);
    assert_eq!(node.call().await, 200);
    store.set(down());
    seconds(5.0).await;
    let mut passed = 0;
    for _ in 0..50 {
        passed += usize::from(node.call().await == 200);
    }
    assert!(passed <= 1, "{passed} passed at once");
}

#[tokio::test(start_paused = true)]
async fn a_rate_may_be_closed_or_open_instead() {
    let (store, node) = rate(Outage::Closed);
    store.set(down());
    let [passed, limited, failed] = statuses(&node, 2).await;
    assert_eq!((passed, limited), (0, 0));
    assert!(failed > 1_000);
    let (store, node) = rate(Outage::Open);
    store.set(down());
    let [passed, limited, failed] = statuses(&node, 2).await;
    assert!(passed > 1_000 && limited == 0 && failed == 0);
}

#[tokio::test(start_paused = true)]
async fn quotas_and_credits_are_spent_as_far_as_they_are_leased() {
    for limit in [Limit::quota("daily", Quota::per_day(100_000)), Limit::credits("calls")] {
        let store = steady();
        let node = Node::new(&store, [limit]);
        if node.call().await == 429 {
            node.top_up(100_000).await;
            seconds(2.0).await;
        }
        statuses(&node, 1).await;
        store.set(down());
        let [passed, limited, failed] = statuses(&node, 5).await;
        assert!((1..1_000).contains(&passed), "{passed} were leased");
        assert_eq!(limited, 0);
        assert!(failed > 3_000);
        store.set(Trouble::default());
        seconds(1.0).await;
        let [passed, limited, failed] = statuses(&node, 1).await;
        assert!(passed > 900 && limited == 0 && failed == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_in_use_does_not_notice_a_store_that_hangs_for_a_moment() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(1_000_000).await;
    waits(&node, 2_000, 0.001).await;
    store.set(Trouble { hangs: true, ..Trouble::default() });
    let during = waits(&node, 100, 0.001).await;
    store.set(Trouble::default());
    assert!(during.iter().all(Duration::is_zero));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_a_second_for_a_store_that_hangs_or_panics() {
    for trouble in [Trouble { hangs: true, ..down() }, Trouble { panics: true, ..down() }] {
        let (store, node) = rate(Outage::Closed);
        store.set(trouble);
        let start = Instant::now();
        assert_eq!(node.call().await, 503);
        assert!(start.elapsed() <= Duration::from_millis(1_001), "{:?}", start.elapsed());
        // From then on nobody waits.
        let start = Instant::now();
        assert_eq!(node.call().await, 503);
        assert_eq!(start.elapsed(), Duration::ZERO);
        store.set(Trouble::default());
        seconds(2.0).await;
        assert_eq!(node.call().await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_fails_can_be_repeated() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(100).await;
    assert_eq!(node.passed(10).await, 10);
    store.set(down());
    assert!(node.limits.flush().await.is_err());
    store.set(Trouble::default());
    node.limits.flush().await.unwrap();
    let balance = node.limits.balance(&record(), "calls").await.unwrap().unwrap();
    assert_eq!((balance.available, balance.spent, store.book.open_leases()), (90, 10, 0));
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_after_a_long_outage_is_not_lost() {
    let store = steady();
    let nodes = [1, 2].map(|_| Node::new(&store, [Limit::credits("calls")]));
    nodes[0].top_up(10_000).await;
    statuses(&nodes[0], 1).await;
    store.set(down());
    seconds(60.0).await;
    store.set(Trouble::default());
    // The other node writes the lease off before it comes back.
    assert_eq!(nodes[1].call().await, 200);
    seconds(5.0).await;
    let balance = nodes[0].limits.balance(&record(), "calls").await.unwrap().unwrap();
    assert_eq!((balance.lost, balance.leased), (0, 0));
    assert!(store.book.sum_is_right());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slower_than_a_lease_fails_and_nobody_hangs() {
    let store = Unsteady::new(1, Trouble { delay: Duration::from_millis(120), ..Trouble::default() });
    let limits = [Limit::rate("burst", Rate::per_second(100).burst(50))];
    let node = Node::with(&store, limits, |builder| builder.lease(Duration::from_millis(100)).nodes(1));
    let [passed, limited, failed] = statuses(&node, 3).await;
    assert!(passed > 200 && limited > 1_000, "{passed} passed, {limited} limited, {failed} failed");
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_not_exceeded_by_an_answer_of_the_day_before() {
    let store = steady();
    let node = Node::new(&store, [Limit::quota("daily", Quota::per_day(100))]);
    // 1,800,000,000 seconds after 1970 it is 8 o'clock.
    seconds(16.0 * 3_600.0 - 0.1).await;
    store.set(Trouble { lost_answers: 100, ..Trouble::default() });
    assert_eq!(node.call().await, 503);
    seconds(1.0).await;
    store.set(Trouble::default());
    seconds(1.0).await;
    assert_eq!(node.passed(200).await, 100);
    node.limits.flush().await.unwrap();
    assert_eq!(node.passed(1).await, 0);
}
