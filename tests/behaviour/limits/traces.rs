//! Tests the bound of a rate over random requests through a layer, with a clock that also stops and is
//! set back, and with reservations of which a part is given back later.

use std::time::{Duration, SystemTime};

use super::{free, limits_of};
use crate::support::{LIVE, TestClock, bearer};
use futures_util::FutureExt;
use proptest::{collection::vec, prelude::*};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyRecord, Rejection,
    limit::{Limit, Quota, Rate, Reservation},
    store::MemoryStore,
};

const TICK: Duration = Duration::from_nanos(1);

fn layer(clock: &TestClock, limits: impl IntoIterator<Item = Limit>) -> ApiKeyLayer {
    let store = MemoryStore::new();
    store.add(KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256())).unwrap();
    ApiKeyLayer::builder(store).limits(limits_of(clock, free(limits))).build().unwrap()
}

/// Requests that were admitted: when, in nanoseconds, and at what cost.
#[derive(Default)]
struct Admitted(Vec<(u128, u128)>);

impl Admitted {
    /// Asserts that no window of time has more than a burst and what the rate fills up.
    fn assert_within(&self, increment: u128, burst: u128) {
        for (place, (begin, _)) in self.0.iter().enumerate() {
            let mut sum = 0;
            for (end, cost) in &self.0[place..] {
                sum += cost;
                assert!(sum * increment <= burst * increment + (end - begin), "{sum} from {begin} to {end}");
            }
        }
    }
}

/// A step of a trace: by how much the clock advances, and then is set back; the cost of a
/// reservation, what is spent of it, and for how many steps it is open.
type Step = (u64, u64, u32, u32, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = prop_oneof![6 => Just(0), 1 => 0_u64..5_000_000_000];
    vec((prop_oneof![Just(0), 0_u64..3_000_000_000], back, 0_u32..6, 0_u32..6, 0_usize..8), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_admits_no_more_than_a_burst_and_the_rate_in_any_window(
        period in 1_u64..2_000_000_000, count in 1_u64..5, burst in 1_u64..20, steps in steps(),
    ) {
        let clock = TestClock::new();
        let rate = Rate::per(count, Duration::from_nanos(period)).burst(burst);
        let layer = layer(&clock, [Limit::rate("rate", rate), Limit::quota("quota", Quota::per_day(1_000_000))]);
        // The latest time that the limits have read.
        let (mut latest, mut admitted) = (SystemTime::UNIX_EPOCH, Admitted::default());
        let mut open: Vec<(usize, Reservation, u32)> = Vec::new();
        for (number, (forward, back, cost, spent, steps)) in steps.into_iter().enumerate() {
            clock.set(clock.get() + Duration::from_nanos(forward) - Duration::from_nanos(back));
            latest = latest.max(clock.get());
            let ended: Vec<_> = open.extract_if(.., |(until, ..)| *until <= number).collect();
            for (_, reserved, spent) in ended {
                reserved.settle(spent);
            }
            let at = latest.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
            if let Ok(key) = layer.try_authenticate(&bearer(LIVE)).unwrap() {
                admitted.0.push((at, 1));
                if let Ok(reserved) = key.reserve(cost).now_or_never().unwrap() {
                    admitted.0.push((at, spent.min(cost).into()));
                    open.push((number + steps, reserved, spent));
                }
            }
        }
        admitted.assert_within(u128::from(period.div_ceil(count)), burst.into());
    }

    /// A client that waits what a rejection says is let in, and not a nanosecond before.
    #[test]
    fn who_waits_as_long_as_a_rejection_says_is_let_in(
        period in 1_u64..2_000_000_000, count in 1_u64..5, burst in 1_u64..20, daily in 1_u64..200, steps in steps(),
    ) {
        let clock = TestClock::new();
        let rate = Rate::per(count, Duration::from_nanos(period)).burst(burst);
        let layer = layer(&clock, [Limit::rate("rate", rate), Limit::quota("quota", Quota::per_day(daily))]);
        let call = || layer.try_authenticate(&bearer(LIVE)).unwrap();
        let wait = |rejection: &Rejection| rejection.retry_after().unwrap();
        for (forward, _, cost, ..) in steps {
            clock.set(clock.get() + Duration::from_nanos(forward));
            match call() {
                Ok(key) => key.charge(cost),
                Err(rejection) => {
                    let (now, after) = (clock.get(), wait(&rejection));
                    // A quota knows whole seconds only.
                    let tick = if rejection.violated_limits().any(|limit| limit == "quota") { Duration::from_secs(1) } else { TICK };
                    clock.set(now + after - tick);
                    prop_assert!(call().is_err());
                    clock.set(now + after);
                    prop_assert!(call().is_ok());
                }
            }
        }
    }
}
