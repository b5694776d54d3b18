//! Leases of credits.

use std::time::Duration;

use super::{CREDITS, ask, balance, give_back, left, month, new_lease, sound, take, top_up};
use crate::limit::{Ask, MeterRule, MeterStore, Return};

pub(super) async fn a_repeated_ask_takes_nothing(store: &impl MeterStore) {
    top_up(store, "repeated", 20, "a").await;
    let first = ask("repeated", CREDITS, 12, 0);
    for _ in 0..3 {
        let grant = take(store, &first).await;
        assert_eq!((grant.units, grant.left), (12, 8), "a repeated ask gets the same units, taken once");
    }
    assert_eq!(take(store, &ask("repeated", CREDITS, 8, 0)).await.left, 0);
    let grant = take(store, &first).await;
    assert_eq!((grant.units, grant.left), (12, 0), "a repeated ask gets its units if nothing else is left");
    assert_eq!(balance(store, "repeated").await, [0, 20, 0, 0, 0], "a repeated ask is taken once");
    give_back(store, &first, 12).await;
    let grant = take(store, &first).await;
    assert_eq!((grant.units, grant.left), (0, 12), "a repeated ask gets nothing once its lease is closed");
    assert_eq!(balance(store, "repeated").await, [12, 8, 0, 0, 0], "a closed lease takes nothing again");
}

pub(super) async fn a_late_ask_takes_nothing(store: &impl MeterStore) {
    // A balance without a row yet, one with too few, and a quota of which something comes back.
    top_up(store, "delayed", 2, "a").await;
    let quota = MeterRule::Quota { most: 5, period: month(store).await };
    let used = ask("delayed quota", quota, 5, 0);
    take(store, &used).await;
    for (name, rule) in [("delayed and new", CREDITS), ("delayed", CREDITS), ("delayed quota", quota)] {
        let refused = Ask { least: 5, ..ask(name, rule, 5, 0) };
        assert_eq!(take(store, &refused).await.units, 0, "nothing below `least`");
        if rule == CREDITS {
            top_up(store, name, 100, "b").await;
        } else {
            give_back(store, &used, 5).await;
        }
        let before = left(store, name, rule).await;
        for _ in 0..2 {
            let grant = take(store, &refused).await;
            assert_eq!((grant.units, grant.left), (0, before), "a late ask takes nothing once its lease got nothing");
        }
        if rule == CREDITS {
            assert_eq!(balance(store, name).await, [before, 0, 0, 0, 0], "a late ask leaves no lease open");
        }
        give_back(store, &refused, 5).await;
        assert_eq!(left(store, name, rule).await, before, "a lease that got nothing gives nothing back");
    }
}

pub(super) async fn a_lease_that_is_replaced_is_spent(store: &impl MeterStore) {
    top_up(store, "continued", 100, "a").await;
    let first = ask("continued", CREDITS, 10, 0);
    take(store, &first).await;
    let second = Ask { replaces: first.lease, ..ask("continued", CREDITS, 20, 0) };
    for _ in 0..2 {
        let grant = take(store, &second).await;
        assert_eq!((grant.units, grant.left), (20, 70), "the lease that continues another one");
        assert_eq!(balance(store, "continued").await, [70, 20, 10, 0, 0], "a lease that is replaced is spent");
    }
    give_back(store, &first, 10).await;
    assert_eq!(balance(store, "continued").await, [70, 20, 10, 0, 0], "a lease that is replaced is closed");
    let refused = Ask { replaces: second.lease, least: 71, ..ask("continued", CREDITS, 71, 0) };
    assert_eq!(take(store, &refused).await.units, 0);
    assert_eq!(balance(store, "continued").await, [70, 0, 30, 0, 0], "a lease is replaced by an ask that gets nothing");
}

pub(super) async fn a_lease_carries_what_is_left_of_the_one_it_replaces(store: &impl MeterStore) {
    top_up(store, "carried", 100, "a").await;
    let first = ask("carried", CREDITS, 10, 0);
    take(store, &first).await;
    let second = Ask { replaces: first.lease, carried: 4, ..ask("carried", CREDITS, 20, 0) };
    for _ in 0..2 {
        let grant = take(store, &second).await;
        assert_eq!((grant.units, grant.left), (20, 70), "a repeated ask that carries units gets the same ones");
        assert_eq!(balance(store, "carried").await, [70, 24, 6, 0, 0], "what is carried stays leased");
    }
    let none = Ask { replaces: second.lease, carried: 24, least: 71, ..ask("carried", CREDITS, 71, 0) };
    assert_eq!(take(store, &none).await.units, 0);
    assert_eq!(balance(store, "carried").await, [70, 24, 6, 0, 0], "what is carried stays leased without new units");
    give_back(store, &none, 24).await;
    assert_eq!(balance(store, "carried").await, [94, 0, 6, 0, 0], "what is carried comes back");
    let few = ask("carried", CREDITS, 3, 0);
    take(store, &few).await;
    let more = Ask { replaces: few.lease, carried: 12, ..ask("carried", CREDITS, 1, 0) };
    assert_eq!(take(store, &more).await.left, 90);
    assert_eq!(balance(store, "carried").await, [90, 10, 0, 0, 0], "no more is carried than there was");
}

pub(super) async fn a_lease_is_closed_once(store: &impl MeterStore) {
    top_up(store, "closed", 100, "a").await;
    let (first, second) = (ask("closed", CREDITS, 10, 0), ask("closed", CREDITS, 20, 0));
    take(store, &first).await;
    take(store, &second).await;
    for _ in 0..3 {
        give_back(store, &first, 4).await;
        assert_eq!(balance(store, "closed").await, [74, 20, 6, 0, 0], "a lease comes back once");
    }
    let both = [&first, &second].map(|ask| Return::new(ask.lease.expect("it has one"), ask.meter.clone(), 20));
    sound(store.give_back(&both).await);
    assert_eq!(balance(store, "closed").await, [94, 0, 6, 0, 0], "the open lease of two comes back");
}

pub(super) async fn more_than_a_lease_comes_back_from_what_was_spent_or_lost(store: &impl MeterStore) {
    top_up(store, "more", 100, "a").await;
    let lost = Ask { deadline: Duration::ZERO, ..ask("more", CREDITS, 5, 0) };
    take(store, &lost).await;
    let (first, second) = (ask("more", CREDITS, 10, 0), ask("more", CREDITS, 3, 0));
    assert_eq!(take(store, &first).await.lost, 5, "the credits that this call has written off");
    take(store, &second).await;
    give_back(store, &first, 0).await;
    assert_eq!(balance(store, "more").await, [82, 3, 10, 5, 0], "10 are spent, and 5 are lost");
    give_back(store, &second, 7).await;
    assert_eq!(balance(store, "more").await, [89, 0, 6, 5, 0], "what is left beyond a lease was spent before");
    // A lease of nothing is kept if nothing was asked for.
    let empty = ask("more", CREDITS, 0, 0);
    take(store, &empty).await;
    give_back(store, &empty, 8).await;
    assert_eq!(balance(store, "more").await, [97, 0, 0, 3, 0], "what was not spent was lost");
    let empty = ask("more", CREDITS, 0, 0);
    take(store, &empty).await;
    give_back(store, &empty, u64::MAX).await;
    assert_eq!(balance(store, "more").await, [100, 0, 0, 0, 0], "no more comes back than there was");
    let refused = Ask { least: 101, ..ask("more", CREDITS, 101, 0) };
    assert_eq!(take(store, &refused).await.units, 0);
    let spent = ask("more", CREDITS, 50, 0);
    take(store, &spent).await;
    give_back(store, &spent, 0).await;
    give_back(store, &refused, 9).await;
    assert_eq!(balance(store, "more").await, [50, 0, 50, 0, 0], "a lease without units is not kept");
}

pub(super) async fn an_unknown_lease_gives_nothing_back(store: &impl MeterStore) {
    top_up(store, "unknown", 100, "a").await;
    let spent = ask("unknown", CREDITS, 50, 0);
    take(store, &spent).await;
    give_back(store, &spent, 0).await;
    give_back(store, &Ask { lease: Some(new_lease()), ..spent.clone() }, 20).await;
    assert_eq!(balance(store, "unknown").await, [50, 0, 50, 0, 0], "an unknown lease gives nothing back");
    let lease = ask("unknown", CREDITS, 10, 0);
    take(store, &lease).await;
    let other = Ask { lease: lease.lease, ..ask("another unknown", CREDITS, 0, 0) };
    give_back(store, &other, 10).await;
    assert_eq!(balance(store, "unknown").await, [40, 10, 50, 0, 0], "a lease of another meter gives nothing back");
}

pub(super) async fn a_lease_is_lost_after_its_deadline(store: &impl MeterStore) {
    top_up(store, "late", 100, "a").await;
    let late = Ask { deadline: Duration::ZERO, ..ask("late", CREDITS, 10, 0) };
    let early = ask("late", CREDITS, 20, 0);
    assert_eq!(take(store, &late).await.units, 10);
    let grant = take(store, &early).await;
    assert_eq!((grant.units, grant.left, grant.lost), (20, 70, 10), "a lease is lost after its deadline");
    assert_eq!(balance(store, "late").await, [70, 20, 0, 10, 0], "what is lost does not come back");
    assert_eq!(take(store, &ask("late", CREDITS, 5, 0)).await.lost, 0, "a lease is lost once, and not before");
    assert_eq!(take(store, &late).await.units, 0, "a lost lease gets nothing again");
    assert_eq!(balance(store, "late").await, [65, 25, 0, 10, 0], "a lost lease changes nothing");
    for _repeated in 0..2 {
        give_back(store, &late, 4).await;
        assert_eq!(balance(store, "late").await, [69, 25, 6, 0, 0], "a lost lease that comes back is not lost");
    }
    let late = Ask { deadline: Duration::ZERO, ..ask("late", CREDITS, 69, 0) };
    assert_eq!(take(store, &late).await.left, 0);
    let grant = take(store, &Ask { least: 1, ..ask("late", CREDITS, 1, 0) }).await;
    assert_eq!((grant.units, grant.lost), (0, 69), "an ask that gets nothing writes off what is late");
    assert_eq!(balance(store, "late").await, [0, 25, 6, 69, 0], "what is lost stays lost");
}
