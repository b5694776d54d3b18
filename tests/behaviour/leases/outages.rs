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
