//! Refills of credits, and plans that share a balance.

use super::{
    allowances::{balance, left},
    *,
};
use tower_api_key::limit::{Period, Refill, Subject};

#[tokio::test(start_paused = true)]
async fn refills_add_to_the_balance_or_replace_it() {
    for (refill, expected) in [(Refill::add(100, Period::Day), 290), (Refill::replace(100, Period::Day), 100)] {
        let store = steady();
        let node = Node::new(&store, [Limit::credits("calls").refill(refill)]);
        assert_eq!(node.passed(10).await, 10);
        seconds(2.0 * 86_400.0).await;
        assert_eq!(left(&node).await, [expected], "{refill:?}");
        assert_eq!(node.passed(300).await as u64, expected);
        assert!(store.book.sum_is_right());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_holds_at_a_refill_that_replaces_is_over() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls").refill(Refill::replace(10_000, Period::Day))]);
    // It is used across midnight, and holds units then. 1,800,000,000 seconds after 1970 it is 8 o'clock.
    seconds(16.0 * 3_600.0 - 0.5).await;
    waits(&node, 1_000, 0.001).await;
    assert_eq!(balance(&node).await.topped_up, 20_000);
    let passed = node.passed(20_000).await;
    node.limits.flush().await.unwrap();
    let ledger = balance(&node).await;
    assert_eq!((ledger.available, ledger.leased, ledger.lost), (0, 0, 0));
    assert!(store.book.sum_is_right());
    // Some units of the day before were spent before the node heard of the refill. No more were.
    let of_the_day_before = 1_000 + passed as u64 - 10_000;
    assert!((450..550).contains(&of_the_day_before), "{of_the_day_before} of the day before were spent");
    assert!(ledger.spent <= 1_000 + passed as u64);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_had_no_refill_for_days_gets_one_when_it_has_one_again() {
    let store = steady();
    let plans = Plans::new()
        .plan("plan", [Limit::credits("calls").refill(Refill::add(100, Period::Day))])
        .plan("prepaid", [Limit::credits("calls")]);
    let keys = OneKey(Arc::new(Mutex::new(record())));
    let node = Node::over(keys.clone(), Limits::leased(plans, store.clone()).build().unwrap());
    assert_eq!(node.passed(10).await, 10);
    *keys.0.lock().unwrap() = record().with_plan("prepaid");
    for _day in 0..10 {
        assert_eq!(node.passed(1).await, 1);
        seconds(86_400.0).await;
    }
    *keys.0.lock().unwrap() = record();
    assert_eq!(node.passed(300).await, 180);
}

/// Returns a node for keys of each of these plans, which share the balance of an organization.
fn plans_of_one_balance<const N: usize>(plans: [(&'static str, Option<Refill>); N]) -> [Node; N] {
    let limit = |refill: Option<Refill>| {
        let credits = Limit::credits("calls").shared_by(Subject::Organization);
        refill.map_or(credits.clone(), |refill| credits.refill(refill))
    };
    let all = plans.iter().fold(Plans::new(), |all, (name, refill)| all.plan(*name, [limit(*refill)]));
    let limits = Limits::leased(all, steady()).build().unwrap();
    plans.map(|(name, _)| {
        let key = record().with_plan(name).with_organization("acme");
        Node::over(OneKey(Arc::new(Mutex::new(key))), limits.clone())
    })
}

async fn topped_up(node: &Node, plan: &'static str) -> u64 {
    let key = record().with_plan(plan).with_organization("acme");
    node.limits.balance(&key, "calls").await.unwrap().unwrap().topped_up
}

#[tokio::test(start_paused = true)]
async fn keys_of_two_plans_with_one_balance_get_one_refill_a_month() {
    let refill = Refill::add(10_000, Period::Month(1));
    let [prepaid, pro] = plans_of_one_balance([("prepaid", None), ("pro", Some(refill))]);
    for _ in 0..60 {
        let _ = (prepaid.call().await, pro.call().await);
        seconds(1.0).await;
    }
    assert_eq!(topped_up(&pro, "pro").await, 10_000);
}

#[tokio::test(start_paused = true)]
async fn nodes_with_old_and_new_plans_refill_once() {
    let store = steady();
    let old = Node::new(&store, [Limit::credits("calls")]);
    let new = Node::new(&store, [Limit::credits("calls").refill(Refill::add(1000, Period::Month(1)))]);
    for _ in 0..60 {
        let _ = (old.call().await, new.call().await);
        seconds(0.5).await;
    }
    assert_eq!(balance(&new).await.topped_up, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_refill_of_a_month_comes_once_in_it_beside_refills_of_days() {
    let refills = [Refill::add(10_000, Period::Month(1)), Refill::add(100, Period::Day)];
    let [monthly, daily] = plans_of_one_balance([("monthly", Some(refills[0])), ("daily", Some(refills[1]))]);
    // It is January 15, 2027. Each day the key of the month comes first.
    for _day in 0..16 {
        for _ in 0..2 {
            let _ = (monthly.call().await, daily.call().await);
            seconds(43_200.0).await;
        }
    }
    assert_eq!(topped_up(&daily, "daily").await, 10_000 + 15 * 100);
    // The other refill comes on January 31, and on February 1 that of the key that comes first.
    for _day in 0..2 {
        let _ = (monthly.call().await, daily.call().await);
        seconds(86_400.0).await;
    }
    assert_eq!(topped_up(&daily, "daily").await, 20_000 + 16 * 100);
}

#[tokio::test(start_paused = true)]
async fn a_plan_with_shorter_periods_is_refilled_by_them_from_the_change_on() {
    let refills = [Refill::add(1000, Period::Month(1)), Refill::add(10, Period::Day)];
    let [monthly, daily] = plans_of_one_balance([("monthly", Some(refills[0])), ("daily", Some(refills[1]))]);
    monthly.call().await;
    seconds(10.0 * 86_400.0).await;
    for day in 1..=3 {
        daily.call().await;
        assert_eq!(topped_up(&daily, "daily").await, 1000 + 10 * day, "none of the days before");
        seconds(86_400.0).await;
    }
}
