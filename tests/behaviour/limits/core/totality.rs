//! Tests that no number panics or overflows: tests are built with overflow checks.

use proptest::prelude::*;

use super::{
    calendar::Period,
    count::Count,
    gcra::{Gcra, LONGEST},
    lane::Lane,
    rule::{Kind, Now, Rule},
};

/// Any number, and those at the ends more often.
fn any_number() -> impl Strategy<Value = u64> {
    let around = |number: u64| (0_u64..3).prop_map(move |more| number.wrapping_add(more).wrapping_sub(1));
    prop_oneof![4 => any::<u64>(), 1 => around(0), 1 => around(LONGEST), 1 => around(1 << 63), 2 => 0_u64..10_000_000_000]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_number_panics(
        count in any_number(), period in any_number(), burst in any_number(), state in any_number(),
        monotonic in any_number(), wall in any_number(), cost in any_number(), whole in any_number(),
        receipt in any_number(), most in any_number(), day in any::<u8>(),
    ) {
        let now = Now { monotonic, wall };
        let mut rules = vec![
            Rule::Quota { most, period: Period::Day },
            Rule::Quota { most, period: Period::Week(day % 7 + 1) },
            Rule::Quota { most, period: Period::Month(day % 31 + 1) },
            Rule::Concurrency { most },
        ];
        if let Some(rate) = Gcra::new(count, period, burst) {
            rules.push(Rule::Rate(rate));
            let _ = rate.lease(state, monotonic, cost);
            let shared = Count::new();
            shared.set(|_| state);
            for thread in 1..5 {
                let _ = Lane::new().charge(&shared, thread, rate, monotonic);
            }
        }
        for rule in rules {
            let _ = rule.admit(state, now, cost, whole);
            rule.charge(state, now, cost);
            rule.receipt(state, now, cost);
            rule.give_back(state, receipt, now, cost);
            prop_assert!(rule.remaining(state, now) <= rule.most());
            rule.full_after(state, now);
            rule.more_after(state, now);
            rule.window(state, now);
            rule.kind().is_fresh(state, now);
        }
        Kind::of(state);
    }

    /// No state lets more pass at once than the limit.
    #[test]
    fn no_state_and_no_time_admits_more_than_the_limit(
        state in any_number(), monotonic in 0..LONGEST, wall in 0_u64..80_000_000_000, most in 0_u64..20,
    ) {
        let now = Now { monotonic, wall };
        for rule in [
            Rule::Rate(Gcra::new(1, 1_000_000_000, most).unwrap()),
            Rule::Quota { most, period: Period::Month(31) },
            Rule::Concurrency { most },
        ] {
            let (mut state, mut passed) = (state, 0);
            while let Ok(next) = rule.admit(state, now, 1, 1) {
                (state, passed) = (next, passed + 1);
                prop_assert!(passed <= most, "{:?}", rule);
            }
        }
    }
}

#[test]
fn a_rate_that_takes_longer_than_73_years_is_none() {
    for (count, period, burst) in [(1, LONGEST + 1, 1), (1, 2, LONGEST), (1, 1, u64::MAX), (1, u64::MAX, 2)] {
        assert_eq!(Gcra::new(count, period, burst), None);
    }
    assert!(Gcra::new(1, LONGEST, 1).is_some() && Gcra::new(1, 1, LONGEST).is_some());
}
