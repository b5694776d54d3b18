//! Refills.

use super::{CREDITS, DAY, ask, balance, give_back, left, month, sound, take, top_up, week};
use crate::limit::{MeterId, MeterRule, MeterStore, Refill};

pub(super) async fn a_refill_comes_once_in_a_period(store: &impl MeterStore) {
    let rule = MeterRule::Credits(Some(Refill::add(50, month(store).await)));
    assert_eq!(left(store, "refilled", rule).await, 50, "a look sees the refill of the first use");
    assert_eq!(sound(store.balance(&MeterId::new("refilled")).await), None, "a look refills nothing");
    let grant = take(store, &ask("refilled", rule, 2, 1000)).await;
    assert_eq!((grant.units, grant.left, grant.wait), (5, 45, None), "the first use begins with a refill");
    let grant = take(store, &ask("refilled", rule, 100, 0)).await;
    assert_eq!((grant.units, grant.left), (45, 0), "a refill comes once in a period");
    let wait = grant.wait.expect("the next refill comes");
    assert!(wait > 17 * DAY && wait <= 31 * DAY, "the wait is until the next refill: {wait:?}");
    assert_eq!(balance(store, "refilled").await, [0, 50, 0, 0, 0], "one refill");
    top_up(store, "refilled later", 7, "a").await;
    let grant = take(store, &ask("refilled later", rule, 1, 0)).await;
    assert_eq!((grant.units, grant.left), (1, 56), "a refill adds to what is left");
    assert_eq!(balance(store, "refilled later").await, [56, 1, 0, 0, 0], "a refill adds to what is left");
}

pub(super) async fn a_refill_replaces_what_is_left(store: &impl MeterStore) {
    let rule = MeterRule::Credits(Some(Refill::replace(50, month(store).await)));
    top_up(store, "replaced", 30, "a").await;
    let before = ask("replaced", CREDITS, 10, 0);
    assert_eq!(take(store, &before).await.left, 20);
    let lease = ask("replaced", rule, 5, 0);
    let grant = take(store, &lease).await;
    assert_eq!((grant.units, grant.left), (5, 45), "a refill replaces what is left");
    assert_eq!(balance(store, "replaced").await, [45, 15, 0, 0, 20], "what a refill replaces is expired");
    give_back(store, &lease, 3).await;
    assert_eq!(balance(store, "replaced").await, [48, 10, 2, 0, 20], "a lease of this period comes back");
    top_up(store, "replaced", 2, "b").await;
    assert_eq!(left(store, "replaced", rule).await, 50, "a refill replaces once in a period");
}

pub(super) async fn plans_that_share_a_balance_bring_one_refill(store: &impl MeterStore) {
    let by_month = MeterRule::Credits(Some(Refill::add(50, month(store).await)));
    let by_week = MeterRule::Credits(Some(Refill::add(20, week(store).await)));
    for (name, other) in [("without a refill", CREDITS), ("with another period", by_week)] {
        for round in 1..=3 {
            take(store, &ask(name, by_month, 1, 0)).await;
            take(store, &ask(name, other, 1, 0)).await;
            let left = 50 - 2 * round;
            assert_eq!(balance(store, name).await, [left, 2 * round, 0, 0, 0], "a plan {name} brings no second refill");
        }
    }
}
