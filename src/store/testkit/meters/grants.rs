//! What a rate grants, and asks of any kind.

use std::time::Duration;

use super::{CREDITS, HOUR, ask, balance, hourly, left, month, sound, take, top_up};
use crate::{
    clock::Stopwatch,
    limit::{Ask, MeterRule, MeterStore},
};

/// Returns whether a time is this many hours, less at most a minute that has passed.
fn is_hours(time: Option<Duration>, hours: u64) -> bool {
    let all = Duration::from_nanos(HOUR * hours);
    time.is_some_and(|time| time <= all && time + Duration::from_secs(60) > all)
}

pub(super) async fn a_rate_grants_what_waits_and_a_sixteenth_of_the_rest(store: &impl MeterStore) {
    let rate = hourly(100);
    let grant = take(store, &ask("rate", rate, 4, 1000)).await;
    assert_eq!((grant.units, grant.left), (10, 90), "4 units that requests wait for, and 96 / 16 more");
    assert_eq!((grant.wait, grant.ends, grant.lost), (None, None, 0), "no wait, no end and no loss");
    let grant = take(store, &ask("rate", rate, 0, 2)).await;
    assert_eq!((grant.units, grant.left), (2, 88), "no more than `more`");
    let grant = take(store, &ask("rate", rate, 1000, 1000)).await;
    assert_eq!((grant.units, grant.left), (88, 0), "what there is, if more is asked for");
    assert!(is_hours(grant.wait, 1), "one more unit an hour after some were granted: {:?}", grant.wait);
    let grant = take(store, &ask("a small rate", hourly(3), 1, 9)).await;
    assert_eq!((grant.units, grant.left), (2, 1), "one more unit at least, if a rate has one");
    let grant = take(store, &ask("a small rate", hourly(3), 1, 9)).await;
    assert_eq!((grant.units, grant.left), (1, 0), "no more than there is");
}

pub(super) async fn a_rate_grants_nothing_below_the_least(store: &impl MeterStore) {
    let least = |least, waiting| Ask { least, ..ask("least of a rate", hourly(10), waiting, 9) };
    let grant = take(store, &least(11, 11)).await;
    assert_eq!(
        (grant.units, grant.left, grant.wait),
        (0, 10, None),
        "nothing below `least`, and more than a burst never passes"
    );
    assert_eq!(take(store, &Ask { more: 0, ..least(0, 8) }).await.units, 8, "the waiting units");
    let grant = take(store, &least(3, 3)).await;
    assert_eq!((grant.units, grant.left), (0, 2), "nothing below `least`");
    assert!(is_hours(grant.wait, 1), "the least is there after an hour: {:?}", grant.wait);
    let grant = take(store, &least(5, 5)).await;
    assert!(grant.units == 0 && is_hours(grant.wait, 3), "the least is there after 3 hours: {:?}", grant.wait);
    let grant = take(store, &least(2, 5)).await;
    assert_eq!((grant.units, grant.left), (2, 0), "what there is, from `least` on");
}

pub(super) async fn a_rate_fills_up_again(store: &impl MeterStore) {
    const MILLISECOND: u64 = 1_000_000;
    let rate = MeterRule::Rate { increment: MILLISECOND, tolerance: 2 * MILLISECOND };
    let (started, mut units, mut calls) = (Stopwatch::start(), 0, 0);
    while units < 20 {
        calls += 1;
        units += take(store, &ask("a fast rate", rate, 1, 0)).await.units;
        let most = 2 + started.elapsed().as_millis() + 1;
        assert!(u128::from(units) <= most, "a rate grants its burst and what its time fills up: {units} of {most}");
        let is_stuck = calls > 20 && units <= 2 && started.elapsed() > Duration::from_secs(1);
        assert!(!is_stuck, "a rate fills up again");
    }
}

pub(super) async fn answers_are_in_the_order_of_the_asks(store: &impl MeterStore) {
    let quota = MeterRule::Quota { most: 1000, period: month(store).await };
    let name = |number: u64| format!("ordered {:02}", number * 37 % 50);
    for number in 0..50 {
        if number % 3 == 2 {
            top_up(store, &name(number), 1000, &name(number)).await;
        }
    }
    let rule = |number| [hourly(1000), quota, CREDITS][usize::try_from(number % 3).unwrap_or(0)];
    for again in 1..3 {
        let asks: Vec<_> = (0..50).map(|number| ask(&name(number), rule(number), number + 1, 0)).collect();
        let grants = sound(store.take(&asks).await);
        let granted: Vec<_> = grants.iter().map(|grant| (grant.units, grant.left)).collect();
        let expected: Vec<_> = (1..=50).map(|units| (units, 1000 - units * again)).collect();
        assert_eq!(granted, expected, "the answers of many asks are in their order");
    }
    assert!(sound(store.take(&[]).await).is_empty(), "no ask has no answer");
    sound(store.give_back(&[]).await);
}

pub(super) async fn a_look_takes_nothing(store: &impl MeterStore) {
    let quota = MeterRule::Quota { most: 7, period: month(store).await };
    top_up(store, "looked at 2", 7, "of a look").await;
    for _ in 0..3 {
        for (number, rule) in [hourly(7), quota, CREDITS].into_iter().enumerate() {
            assert_eq!(left(store, &format!("looked at {number}"), rule).await, 7, "a look takes nothing");
        }
    }
    assert_eq!(balance(store, "looked at 2").await, [7, 0, 0, 0, 0], "a look changes no balance");
    let with_lease = ask("looked at 0", hourly(7), 0, 0);
    assert_eq!(take(store, &with_lease).await.units, 0, "nothing is granted if nothing is asked for");
    for rule in [quota, CREDITS] {
        let number = if rule == CREDITS { 2 } else { 1 };
        let without = Ask { lease: None, ..ask(&format!("looked at {number}"), rule, 3, 3) };
        let grant = take(store, &without).await;
        assert_eq!((grant.units, grant.left), (0, 7), "an ask without a lease gets nothing");
    }
}
