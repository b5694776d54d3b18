//! Stores of meters.

mod credits;
mod grants;
mod leases;
mod quotas;
mod races;
mod refills;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    limit::{Ask, Balance, Grant, LeaseId, MeterId, MeterRule, MeterStore, Period, Return, TopUp, TopUpId},
    store::BoxError,
};

/// Checks that a store of meters does what [`MeterStore`] requires. `open` must return a new, empty
/// store on each call.
///
/// Times are those of the store's clock, and the rates are so slow that the clock does not matter.
/// Periods of the calendar that begin or end today are avoided. Races run in many tasks, so use a
/// runtime with several threads.
///
/// ```no_run
/// use tower_api_key::store::{SqliteStore, testkit};
///
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// // #[tokio::test(flavor = "multi_thread")]
/// let folder = std::env::temp_dir();
/// let number = std::sync::atomic::AtomicU32::new(0);
/// testkit::check_meters(async || {
///     let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///     SqliteStore::open(folder.join(format!("keys-{number}.db"))).await.unwrap()
/// })
/// .await;
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
///
/// Panics if the store breaks a requirement, or fails. The message names the requirement.
pub async fn check_meters<M: MeterStore>(open: impl AsyncFn() -> M) {
    // Boxed: together, the futures are too large for the stack of a test thread.
    let store = &open().await;
    Box::pin(async {
        grants::a_rate_grants_what_waits_and_a_sixteenth_of_the_rest(store).await;
        grants::a_rate_grants_nothing_below_the_least(store).await;
        grants::a_rate_fills_up_again(store).await;
        grants::answers_are_in_the_order_of_the_asks(store).await;
        grants::a_look_takes_nothing(store).await;
    })
    .await;
    Box::pin(async {
        quotas::a_quota_grants_what_waits_and_a_sixteenth_of_the_rest(store).await;
        quotas::what_is_left_of_a_quota_comes_back_once(store).await;
        quotas::what_is_left_of_a_quota_comes_back_in_its_own_period_only(store).await;
    })
    .await;
    let store = &open().await;
    Box::pin(async {
        credits::a_top_up_adds_once(store).await;
        credits::credits_grant_what_waits_and_a_sixteenth_of_the_rest(store).await;
        credits::a_top_up_above_the_highest_balance_adds_nothing(store).await;
        refills::a_refill_comes_once_in_a_period(store).await;
        refills::a_refill_replaces_what_is_left(store).await;
        refills::plans_that_share_a_balance_bring_one_refill(store).await;
    })
    .await;
    Box::pin(async {
        leases::a_repeated_ask_takes_nothing(store).await;
        leases::a_late_ask_takes_nothing(store).await;
        leases::a_lease_is_closed_once(store).await;
        leases::a_lease_that_is_replaced_is_spent(store).await;
        leases::a_lease_carries_what_is_left_of_the_one_it_replaces(store).await;
        leases::more_than_a_lease_comes_back_from_what_was_spent_or_lost(store).await;
        leases::an_unknown_lease_gives_nothing_back(store).await;
        leases::a_lease_is_lost_after_its_deadline(store).await;
    })
    .await;
    let store = std::sync::Arc::new(open().await);
    Box::pin(async {
        races::a_racing_top_up_adds_once(&store).await;
        races::a_racing_repeat_takes_once(&store).await;
        races::a_racing_return_comes_back_once(&store).await;
        races::racing_asks_get_no_more_than_there_is(&store).await;
        races::a_racing_rate_grants_no_more_than_its_burst_and_its_time(&store).await;
    })
    .await;
}

const HOUR: u64 = 3_600_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

/// Unwraps the result of a store. Panics if the store failed.
#[track_caller]
fn sound<T, E: Into<BoxError>>(answer: Result<T, E>) -> T {
    match answer {
        Ok(value) => value,
        Err(error) => panic!("the store of meters failed: {}", error.into()),
    }
}

/// Returns a rate of one unit an hour.
fn hourly(burst: u64) -> MeterRule {
    MeterRule::Rate { increment: HOUR, tolerance: HOUR * burst }
}

const CREDITS: MeterRule = MeterRule::Credits(None);

fn new_lease() -> LeaseId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    LeaseId::from_bytes(bytes)
}

/// Returns an ask with a new lease.
fn ask(meter: &str, rule: MeterRule, waiting: u64, more: u64) -> Ask {
    Ask { lease: Some(new_lease()), waiting, more, ..Ask::new(MeterId::new(meter), rule) }
}

async fn take(store: &impl MeterStore, ask: &Ask) -> Grant {
    let mut grants = sound(store.take(std::slice::from_ref(ask)).await);
    assert_eq!(grants.len(), 1, "one answer for one ask");
    grants.remove(0)
}

/// Returns what is left of a meter, as a look sees it.
async fn left(store: &impl MeterStore, meter: &str, rule: MeterRule) -> u64 {
    let look = take(store, &Ask::new(MeterId::new(meter), rule)).await;
    assert_eq!(look.units, 0, "a look gets nothing");
    look.left
}

/// Closes the lease of an ask, of which so much is left.
async fn give_back(store: &impl MeterStore, of: &Ask, left: u64) {
    let Some(lease) = of.lease else { return };
    sound(store.give_back(&[Return::new(lease, of.meter.clone(), left)]).await);
}

async fn top_up(store: &impl MeterStore, meter: &str, amount: u64, once: &str) -> TopUp {
    let once = TopUpId::new(once).expect("a short id");
    let top_up = sound(store.top_up(&MeterId::new(meter), amount, &once).await);
    assert_sum(&top_up.balance);
    top_up
}

/// Returns the credits of a meter that has some: available, leased, spent, lost, expired.
async fn balance(store: &impl MeterStore, meter: &str) -> [u64; 5] {
    let balance = sound(store.balance(&MeterId::new(meter)).await);
    let balance = balance.expect("a meter that had credits has a balance");
    assert_sum(&balance);
    [balance.available, balance.leased, balance.spent, balance.lost, balance.expired]
}

#[track_caller]
fn assert_sum(balance: &Balance) {
    let Balance { available, leased, spent, lost, expired, topped_up } = *balance;
    let sum = available + leased + spent + lost + expired;
    assert_eq!(sum, topped_up, "the sum of all parts is what was topped up: {balance:?}");
}

/// Returns the period of these whose end is the farthest from now, by the clock of the store.
async fn farthest(store: &impl MeterStore, periods: impl IntoIterator<Item = Period>) -> Period {
    let mut farthest = (Duration::ZERO, Period::Day);
    for period in periods {
        let look = Ask::new(MeterId::new("farthest"), MeterRule::Quota { most: 1, period });
        let ends = take(store, &look).await.ends.expect("a quota says when its period ends");
        if ends > farthest.0 {
            farthest = (ends, period);
        }
    }
    farthest.1
}

/// Returns a month that ends in 18 days at least.
async fn month(store: &impl MeterStore) -> Period {
    farthest(store, [1, 11, 21].map(Period::Month)).await
}

/// Returns a week that ends in 6 days at least.
async fn week(store: &impl MeterStore) -> Period {
    farthest(store, (1..=7).map(Period::Week)).await
}
