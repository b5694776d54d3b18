//! Many tasks at once.

use std::sync::Arc;

use super::{CREDITS, ask, balance, give_back, hourly, month, sound, take, top_up};
use crate::{
    clock::Stopwatch,
    limit::{MeterRule, MeterStore},
};

/// Runs `task` for many numbers concurrently, and returns the sum of what it returns.
async fn race<M: MeterStore, F: Future<Output = u64> + Send + 'static>(
    store: &Arc<M>,
    tasks: u64,
    task: impl Fn(Arc<M>, u64) -> F,
) -> u64 {
    let tasks: Vec<_> = (0..tasks).map(|number| tokio::spawn(task(Arc::clone(store), number))).collect();
    let mut sum = 0;
    for task in tasks {
        match task.await {
            Ok(some) => sum += some,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    sum
}

pub(super) async fn a_racing_top_up_adds_once(store: &Arc<impl MeterStore>) {
    let new = race(store, 32, |store, number| async move {
        u64::from(top_up(&*store, "raced top-up", 10 + number, "once").await.is_new)
    })
    .await;
    assert_eq!(new, 1, "of racing top-ups with one id, one adds");
    let first = top_up(&**store, "raced top-up", 1, "once").await;
    assert_eq!(first.balance.topped_up, first.amount, "racing top-ups add once");
}

pub(super) async fn a_racing_repeat_takes_once(store: &Arc<impl MeterStore>) {
    let quota = MeterRule::Quota { most: 100, period: month(&**store).await };
    top_up(&**store, "raced 1", 100, "a").await;
    for (number, rule) in [quota, CREDITS].into_iter().enumerate() {
        let repeated = ask(&format!("raced {number}"), rule, 10, 0);
        let units = race(store, 8, |store, _| {
            let repeated = repeated.clone();
            async move { take(&*store, &repeated).await.units }
        })
        .await;
        assert_eq!(units, 80, "each repeat gets the units of the lease");
        assert_eq!(super::left(&**store, &format!("raced {number}"), rule).await, 90, "racing repeats take once");
    }
    assert_eq!(balance(&**store, "raced 1").await, [90, 10, 0, 0, 0], "racing repeats are leased once");
}

pub(super) async fn a_racing_return_comes_back_once(store: &Arc<impl MeterStore>) {
    top_up(&**store, "raced return", 100, "a").await;
    for spent in 1..=3 {
        let lease = ask("raced return", CREDITS, 10, 0);
        take(&**store, &lease).await;
        race(store, 8, |store, _| {
            let lease = lease.clone();
            async move {
                give_back(&*store, &lease, 9).await;
                0
            }
        })
        .await;
        let expected = [100 - spent, 0, spent, 0, 0];
        assert_eq!(balance(&**store, "raced return").await, expected, "a racing return comes back once");
    }
}

pub(super) async fn racing_asks_get_no_more_than_there_is(store: &Arc<impl MeterStore>) {
    const METERS: u64 = 12;
    let quota = MeterRule::Quota { most: 20, period: month(&**store).await };
    for (kind, rule) in [hourly(20), quota, CREDITS].into_iter().enumerate() {
        let name = move |number: u64| format!("raced by many {kind} {number}");
        if rule == CREDITS {
            for number in 0..METERS {
                top_up(&**store, &name(number), 20, "a").await;
            }
        }
        let units = race(store, 8, |store, task| async move {
            let mut units = 0;
            for round in 0..4 {
                let mut asks: Vec<_> = (0..METERS).map(|number| ask(&name(number), rule, 1, round)).collect();
                // Two tasks that lock in the order of their asks would wait for each other.
                if task % 2 == 1 {
                    asks.reverse();
                }
                let grants = sound(store.take(&asks).await);
                assert_eq!(grants.len(), asks.len(), "an answer for each ask");
                units += grants.iter().map(|grant| grant.units).sum::<u64>();
            }
            units
        })
        .await;
        assert_eq!(units, 20 * METERS, "racing asks get all there is, and no more: {rule:?}");
        if rule == CREDITS {
            for number in 0..METERS {
                assert_eq!(balance(&**store, &name(number)).await, [0, 20, 0, 0, 0], "all that was granted is leased");
            }
        }
    }
}

pub(super) async fn a_racing_rate_grants_no_more_than_its_burst_and_its_time(store: &Arc<impl MeterStore>) {
    const MILLISECOND: u64 = 1_000_000;
    let rate = MeterRule::Rate { increment: MILLISECOND, tolerance: 20 * MILLISECOND };
    let started = Stopwatch::start();
    let units = race(store, 8, |store, _| async move {
        let mut units = 0;
        for _ in 0..10 {
            units += take(&*store, &ask("a raced rate", rate, 5, 5)).await.units;
        }
        units
    })
    .await;
    let most = 20 + started.elapsed().as_millis() + 1;
    assert!(u128::from(units) <= most, "a racing rate grants its burst and what its time fills up: {units} of {most}");
    assert!(units >= 20, "a rate grants its burst: {units}");
}
