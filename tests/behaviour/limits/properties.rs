use crate::{gcra::{Gcra, Full}, rule::{Rule, Now}, count::*};
use proptest::prelude::*;
use std::time::Duration;
use governor::{Quota as Q, RateLimiter, clock::FakeRelativeClock};
use std::num::NonZeroU32;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// window bound, clocks that stand still; running max applied by the caller
    #[test]
    fn bound(count in 1u64..50, period in 1u64..1000, burst in 1u64..50, steps in prop::collection::vec((0u64..200, 1u64..4), 1..200)) {
        let Some(rate) = Gcra::new(count, period, burst) else { return Ok(()) };
        let increment = period.div_ceil(count);
        let (mut now, mut state) = (1_000u64, 0u64);
        let mut admitted: Vec<(u64,u64)> = vec![];
        for (pause, cost) in steps {
            now += pause;
            if let Ok(next) = rate.admit(state, now, cost, cost) { state = next; admitted.push((now, cost)); }
        }
        for i in 0..admitted.len() { let mut sum = 0; for j in i..admitted.len() { sum += admitted[j].1; let t = admitted[j].0 - admitted[i].0; prop_assert!(sum * increment <= burst * increment + t, "{sum} in {t}"); } }
    }
    #[test]
    fn like_governor(increment_ms in 1u64..500, burst in 1u32..30, pauses in prop::collection::vec(0u64..2000, 1..200)) {
        let clock = FakeRelativeClock::default();
        let quota = Q::with_period(Duration::from_millis(increment_ms)).unwrap().allow_burst(NonZeroU32::new(burst).unwrap());
        let theirs = RateLimiter::direct_with_clock(quota, clock.clone());
        let ours = Gcra::new(1, increment_ms * 1_000_000, burst.into()).unwrap();
        let (mut now, mut state) = (0u64, 0u64);
        for pause in pauses {
            clock.advance(Duration::from_millis(pause)); now += pause * 1_000_000;
            let their = theirs.check();
            let our = ours.admit(state, now, 1, 1);
            prop_assert_eq!(their.is_ok(), our.is_ok());
            match our { Ok(next) => state = next, Err(Full::For(wait)) => {
                prop_assert!(ours.admit(state, now + wait, 1, 1).is_ok());
                prop_assert!(ours.admit(state, now + wait - 1, 1, 1).is_err());
            } Err(Full::Forever) => prop_assert!(false) }
        }
    }
    #[test]
    fn no_number_panics(count: u64, period: u64, burst: u64, state: u64, now: u64, cost: u64, whole: u64, wall: u64, charged: u64, most: u64, day in 0u8..33) {
        let at = Now { monotonic: now, wall };
        let mut rules = vec![Rule::Quota { most, period: crate::calendar::Period::Month(day % 31 + 1) }, Rule::Quota { most, period: crate::calendar::Period::Week(day % 7 + 1) }, Rule::Concurrency { most }];
        rules.extend(Gcra::new(count, period, burst).map(Rule::Rate));
        for rule in rules {
            let _ = rule.admit(state, at, cost, whole); rule.charge(state, at, cost); rule.undo(state, [most, charged], at, cost);
            rule.remaining(state, at); rule.refills_after(state, at); rule.kind().is_fresh(state, at);
        }
    }
}
#[test]
fn eight_threads_race_for_the_last_of_two() {
    for _ in 0..300 {
        let rate = Rule::Rate(Gcra::new(1, 3_600_000_000_000, 3).unwrap());
        let shared = Count::new();
        let own: Vec<Count> = (0..8).map(|_| Count::new()).collect();
        let now = Now { monotonic: 5, wall: 0 };
        let passed: usize = std::thread::scope(|s| {
            let hs: Vec<_> = own.iter().map(|own| { let shared = &shared; s.spawn(move || {
                let charges = [Charge { count: own, rule: Rule::Quota { most: 1, period: crate::calendar::Period::Day }, cost: 1, whole: 1 }, Charge { count: shared, rule: rate, cost: 1, whole: 1 }];
                usize::from(take(&charges, now, &mut Default::default(), || now))
            })}).collect();
            hs.into_iter().map(|h| h.join().unwrap()).sum()
        });
        assert_eq!(passed, 3);
        assert_eq!(own.iter().filter(|c| Rule::Quota { most: 1, period: crate::calendar::Period::Day }.remaining(c.state(), now) == 0).count(), 3);
        assert_eq!(rate.remaining(shared.state(), now), 0);
    }
}
proptest! {
    /// A charge that is undone is as if it had never been made, or refuses more.
    #[test]
    fn undo_is_never_a_gift(count in 1u64..20, burst in 1u64..20, steps in prop::collection::vec((0u64..300, any::<bool>(), 0u64..400), 1..60)) {
        let rate = Gcra::new(count, 1000, burst).unwrap();
        let (mut now, mut with, mut without) = (10u64, 0u64, 0u64);
        let mut pending: Option<([u64;2],u64)> = None; // charged, undo at
        for (pause, is_undone, after) in steps {
            now += pause;
            if let Some((charged, at)) = pending && now >= at { with = rate.undo(with, charged, now); pending = None; }
            if let Ok(next) = rate.admit(with, now, 1, 1) {
                if is_undone && pending.is_none() { pending = Some(([with, next], now + after)); with = next; }
                else { with = next; if let Ok(next) = rate.admit(without, now, 1, 1) { without = next } else { prop_assert!(false, "gift") } }
            }
            prop_assert!(with.max(now) >= without.max(now), "{with} {without} {now}");
        }
    }
}
