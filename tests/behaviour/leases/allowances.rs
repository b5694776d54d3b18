//! Quotas and credits: what nodes spend together, and what comes back.

use super::*;
use tower_api_key::{
    KeyId, Rejection,
    limit::{Balance, Quota, Subject},
    rejection::Verdict,
};

pub(super) async fn balance(node: &Node) -> Balance {
    node.limits.balance(&record(), "calls").await.unwrap().unwrap()
}

pub(super) async fn left(node: &Node) -> Vec<u64> {
    node.limits.look(&record()).await.unwrap().unwrap().iter().map(|left| left.requests).collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_count_a_quota_together_and_begin_anew_with_the_period() {
    let store = steady();
    let nodes = [1, 2, 3].map(|_| Node::new(&store, [Limit::quota("daily", Quota::per_day(100))]));
    for _day in 0..2 {
        let mut passed = 0;
        for _ in 0..60 {
            for node in &nodes {
                passed += node.passed(1).await;
                seconds(0.01).await;
            }
        }
        // What a node holds and does not use comes back after a lease.
        seconds(3.0).await;
        for node in &nodes {
            passed += node.passed(100).await;
        }
        assert_eq!(passed, 100);
        assert_eq!(left(&nodes[0]).await, [0]);
        seconds(86_400.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_top_up_takes_effect_at_once_on_its_own_node() {
    let node = Node::new(&steady(), [Limit::credits("calls")]);
    assert_eq!(node.limits.remaining(&record()).unwrap()[0].requests, 0, "before the first answer");
    assert_eq!(node.call().await, 429);
    node.top_up(2).await;
    assert_eq!(node.passed(3).await, 2);
}

#[tokio::test(start_paused = true)]
async fn nodes_spend_what_is_topped_up_and_no_more() {
    let store = steady();
    let nodes = [1, 2, 3].map(|_| Node::new(&store, [Limit::credits("calls")]));
    assert_eq!(nodes[0].call().await, 429);
    nodes[1].top_up(500).await;
    // The node has heard that there are none, and asks again after a lease.
    assert_eq!(nodes[0].call().await, 429);
    seconds(1.1).await;
    let mut passed = 0;
    for _ in 0..200 {
        for node in &nodes {
            passed += node.passed(1).await;
        }
    }
    seconds(3.0).await;
    for node in &nodes {
        passed += node.passed(50).await;
        node.limits.flush().await.unwrap();
    }
    assert_eq!(passed, 500);
    let balance = balance(&nodes[0]).await;
    assert_eq!((balance.spent, balance.available, balance.leased), (500, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_credits_a_request_gets_429_or_402() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    assert_eq!(node.call().await, 429);
    let node = Node::with(&store, [Limit::credits("calls")], LeasedLimitsBuilder::payment_required);
    assert_eq!(node.call().await, 402);
    assert_eq!(node.call().await, 402, "remembered");
}

#[tokio::test(start_paused = true)]
async fn what_a_node_does_not_use_comes_back_after_a_lease() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(1_000).await;
    for _ in 0..100 {
        assert_eq!(node.call().await, 200);
        seconds(0.001).await;
    }
    assert!(balance(&node).await.leased > 0);
    seconds(2.1).await;
    let balance = balance(&node).await;
    assert_eq!((balance.available, balance.leased, balance.spent), (900, 0, 100));
    assert_eq!(store.book.open_leases(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_slow_use_is_never_lost() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(10_000).await;
    for _ in 0..300 {
        node.call().await;
    }
    for _ in 0..200 {
        assert_eq!(node.call().await, 200);
        seconds(0.9).await;
    }
    node.limits.flush().await.unwrap();
    let balance = balance(&node).await;
    assert_eq!((balance.lost, balance.spent), (0, 500));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_gives_credits_back_after_its_lease_was_closed() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(1_000).await;
    let status = node.handled(async |key| {
        let reserved = key.reserve(500).await.unwrap();
        seconds(60.0).await;
        reserved.settle(200);
    });
    assert_eq!(status.await, 200);
    seconds(5.0).await;
    let balance = balance(&node).await;
    assert_eq!((balance.available, balance.leased, balance.spent, balance.lost), (799, 0, 201, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_the_balance_does_not_cover_is_rejected_and_costs_nothing() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(100).await;
    let status = node.handled(async |key| assert!(key.reserve(100).await.is_err(), "1 is charged already"));
    assert_eq!(status.await, 200);
    let status = node.handled(async |key| key.reserve(98).await.unwrap().cancel());
    assert_eq!(status.await, 200);
    seconds(5.0).await;
    assert_eq!(balance(&node).await.available, 98);
}

#[tokio::test(start_paused = true)]
async fn what_is_charged_after_the_work_is_paid_from_the_next_units() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(100).await;
    assert_eq!(node.handled(async |key| key.charge(150)).await, 200);
    seconds(2.0).await;
    assert_eq!(node.call().await, 429);
    node.top_up(100).await;
    seconds(2.0).await;
    assert_eq!(node.passed(100).await, 49, "200 without 1 and 150");
}

#[tokio::test(start_paused = true)]
async fn the_debt_of_a_rate_is_paid_and_locks_nobody_out() {
    let store = steady();
    let node = Node::new(&store, [Limit::rate("burst", Rate::per_second(10).burst(20))]);
    // Another request waits for the store when the debt is made.
    let (handled, waiting) = tokio::join!(node.handled(async |key| key.charge(1_000)), node.call());
    assert_eq!((handled, waiting), (200, 200));
    let mut passed = Vec::new();
    for _ in 0..5 {
        passed.push(node.passed(100).await);
        seconds(1.0).await;
    }
    assert_eq!(passed[0], 0, "the debt is as large as the burst");
    assert!(passed[3..].iter().all(|passed| (5..=20).contains(passed)), "{passed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_debt_of_a_quota_ends_with_its_period() {
    let store = steady();
    let node = Node::new(&store, [Limit::quota("daily", Quota::per_day(100))]);
    assert_eq!(node.handled(async |key| key.charge(1_000_000)).await, 200);
    seconds(3.0).await;
    assert_eq!(node.passed(10).await, 0);
    seconds(86_400.0).await;
    assert_eq!(node.passed(200).await, 100);
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_dropped_take_no_units() {
    let store = Unsteady::new(1, Trouble { delay: Duration::from_millis(50), ..Trouble::default() });
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(1_000).await;
    // They wait while the store answers the first request, and are dropped before it is asked again.
    let first = node.call();
    let others = async {
        seconds(0.01).await;
        let dropped = (0..500).map(|_| tokio::time::timeout(Duration::from_millis(20), node.call()));
        futures_util::future::join_all(dropped).await
    };
    let (first, others) = tokio::join!(first, others);
    assert_eq!(first, 200);
    assert!(others.iter().all(Result::is_err));
    assert_eq!(node.call().await, 200);
    let leased = balance(&node).await.leased;
    assert!(leased <= 4, "{leased} are leased");
}

#[tokio::test(start_paused = true)]
async fn a_429_of_a_guard_gives_the_rate_back() {
    let store = steady();
    let search = Limit::rate("search", Rate::per_hour(1)).for_routes();
    let node = Node::new(&store, [Limit::rate("burst", Rate::per_hour(1).burst(100)), search]);
    let guard = || Require::check(|_, _| Verdict::Pass).limited_by("search");
    assert_eq!(node.guarded(guard()).await, 200);
    waits(&node, 20, 0.02).await;
    for _ in 0..10 {
        assert_eq!(node.guarded(guard()).await, 429);
        seconds(0.02).await;
    }
    // Only a unit of the present slice comes back. The first one after it does not.
    let passed = node.passed(100).await;
    assert!((76..=79).contains(&passed), "{passed} of 79");
}

#[tokio::test(start_paused = true)]
async fn a_guard_charges_its_cost() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls"), Limit::credits("images").for_routes()]);
    let guard = || Require::check(|_, _| Verdict::Pass).costs(5).limited_by("images");
    node.top_up(12).await;
    assert_eq!(node.guarded(guard()).await, 429, "no credits for images");
    let once = tower_api_key::limit::TopUpId::new("images").unwrap();
    node.limits.top_up(&record(), "images", 100, &once).await.unwrap();
    seconds(1.1).await;
    assert_eq!(node.guarded(guard()).await, 200);
    assert_eq!(node.guarded(guard()).await, 200);
    assert_eq!(node.guarded(guard()).await, 429, "2 are left");
    assert_eq!(node.call().await, 200);
    node.limits.flush().await.unwrap();
    assert_eq!(balance(&node).await.available, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_gets_quotas_and_credits_back() {
    let store = steady();
    let limits = [Limit::quota("daily", Quota::per_day(10)), Limit::credits("calls")];
    let node = Node::new(&store, limits);
    node.top_up(10).await;
    let guard = || Require::check(|_, _| Verdict::Reject(Rejection::forbidden()));
    for _ in 0..50 {
        assert_eq!(node.guarded(guard()).await, 403);
    }
    node.limits.flush().await.unwrap();
    assert_eq!(left(&node).await, [10, 10]);
    assert_eq!(balance(&node).await.spent, 0);
}

#[tokio::test(start_paused = true)]
async fn a_raised_quota_counts_at_once_and_keeps_what_was_used() {
    let store = steady();
    let plans = Plans::new().plan("plan", [Limit::quota("daily", Quota::per_day(10))]);
    let limits = Limits::leased(plans, store.clone()).build().unwrap();
    let keys = OneKey(Arc::new(Mutex::new(record())));
    let node = Node::over(keys.clone(), limits);
    assert_eq!(node.passed(20).await, 10);
    *keys.0.lock().unwrap() = record().with_limit("daily", 30);
    assert_eq!(node.passed(40).await, 20);
    *keys.0.lock().unwrap() = record().with_limit("daily", 0);
    assert_eq!(node.passed(1).await, 0);
    *keys.0.lock().unwrap() = record().with_limit("daily", None);
    assert_eq!(node.passed(100).await, 100);
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_subject_share_its_meter_on_every_node() {
    let store = steady();
    let plans = || Plans::new().plan("plan", [Limit::credits("calls").shared_by(Subject::Organization)]);
    let node = |meter: &str, organization: &str| {
        let record = record().with_meter(KeyId::from(meter)).with_organization(organization);
        let limits = Limits::leased(plans(), store.clone()).build().unwrap();
        (Node::over(OneKey(Arc::new(Mutex::new(record.clone()))), limits), record)
    };
    let ((first, record), (second, _), (other, _)) = (node("a", "acme"), node("b", "acme"), node("c", "other"));
    let once = tower_api_key::limit::TopUpId::new("acme").unwrap();
    first.limits.top_up(&record, "calls", 20, &once).await.unwrap();
    assert_eq!(first.passed(5).await + second.passed(5).await, 10);
    assert_eq!(other.passed(5).await, 0);
}
