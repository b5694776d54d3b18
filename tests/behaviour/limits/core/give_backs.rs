//! Tests charges that are given back: no caller gets more than if they had never been made.

use proptest::{collection::vec, prelude::*};

use super::{
    Admitted,
    calendar::{DAY, Period},
    count::{Charge, Count, take},
    gcra::Gcra,
    rule::{Now, Rule},
};

/// A charge of which a part is given back later.
#[derive(Clone, Copy, Debug)]
struct Open {
    receipt: u64,
    part: u64,
    /// When it was charged, and when a part of it is given back.
    since: u64,
    at: u64,
}

/// A request: how long after the last one it comes, its cost, the part of it that is given back,
/// and when.
type Step = (u64, u64, u64, u64);

fn steps(longest: u64) -> impl Strategy<Value = Vec<Step>> {
    vec((prop_oneof![Just(0), 0..longest], 1_u64..8, 0_u64..10, prop_oneof![Just(0), 0..2 * longest]), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Several charges are open at a time, others come in between, and a part may be given back.
    #[test]
    fn a_rate_admits_no_more_than_without_the_charges_that_are_given_back(
        count in 1_u64..20, burst in 1_u64..20, steps in steps(400),
    ) {
        let (rate, increment) = (Gcra::new(count, 1000, burst).unwrap(), 1000_u64.div_ceil(count));
        let (mut now, mut with, mut without) = (10_u64, 0_u64, 0_u64);
        let (mut open, mut kept) = (Vec::<Open>::new(), Admitted::default());
        for (pause, cost, part, after) in steps {
            let next = now + pause;
            open.sort_by_key(|open| open.at);
            while let Some(first) = open.first().copied().filter(|open| open.at <= next) {
                open.remove(0);
                now = first.at;
                with = rate.give_back(with, first.receipt, now, first.part);
                prop_assert!(with.max(now) >= without.max(now), "{} {} {}", with, without, now);
            }
            now = next;
            if let Ok(charged) = rate.admit(with, now, cost, cost) {
                with = charged;
                let part = part.min(cost);
                if part > 0 {
                    open.push(Open { receipt: rate.over_at(now, cost), part, since: now, at: now + after });
                }
                if part < cost {
                    without = rate.admit(without, now, cost - part, cost - part).expect("passes without the others too");
                    kept.add(now, cost - part);
                }
            }
            prop_assert!(with.max(now) >= without.max(now), "{} {} {}", with, without, now);
        }
        prop_assert_eq!(kept.excess(increment, burst), None);
    }

    /// Nobody else is charged meanwhile: the state is as if the part had not been charged.
    #[test]
    fn a_rate_gets_all_back_that_time_has_not_filled_up(
        burst in 1_u64..50, cost in 1_u64..50, part in 0_u64..60, pause in 0_u64..60_000, now in 1_u64..10_000,
    ) {
        let rate = Gcra::new(1, 1000, burst).unwrap();
        let (cost, then) = (cost.min(burst), now + pause);
        let charged = rate.admit(0, now, cost, cost).unwrap();
        let back = rate.give_back(charged, rate.over_at(now, cost), then, part.min(cost));
        let never = rate.charge(0, now, cost - part.min(cost));
        prop_assert_eq!(back.max(then), never.max(then));
    }

    /// A charge is given back in its own period only.
    #[test]
    fn a_quota_counts_exactly_what_is_not_given_back_in_its_period(most in 1_u64..40, steps in steps(3 * DAY / 10)) {
        let (rule, mut now) = (Rule::Quota { most, period: Period::Day }, 20_000 * DAY);
        let (mut state, mut kept, mut open) = (0, 0, Vec::<Open>::new());
        let at = |wall| Now { monotonic: 0, wall };
        for (pause, cost, part, after) in steps {
            let next = now + pause;
            open.sort_by_key(|open| open.at);
            while let Some(first) = open.first().copied().filter(|open| open.at <= next) {
                open.remove(0);
                kept = if first.at / DAY == now / DAY { kept } else { 0 };
                now = first.at;
                state = rule.give_back(state, first.receipt, at(now), first.part);
                kept -= if first.since / DAY == now / DAY { first.part } else { 0 };
                prop_assert_eq!(rule.remaining(state, at(now)), most - kept);
            }
            kept = if next / DAY == now / DAY { kept } else { 0 };
            now = next;
            if let Ok(charged) = rule.admit(state, at(now), cost, cost) {
                (state, kept) = (charged, kept + cost);
                let receipt = rule.receipt(charged, at(now), cost);
                open.push(Open { receipt, part: part.min(cost), since: now, at: now + after });
            }
            prop_assert_eq!(rule.remaining(state, at(now)), most - kept);
        }
    }
}

/// The first charge is given back early and the second late, with another one in between.
#[test]
fn a_charge_that_is_given_back_early_leaves_nothing_to_one_that_is_given_back_late() {
    let rate = Gcra::new(1, 10, 10).unwrap();
    let first = rate.admit(0, 100, 5, 5).unwrap();
    let second = rate.admit(first, 100, 5, 5).unwrap();
    assert_eq!(second, 200);
    let state = rate.give_back(second, rate.over_at(100, 5), 100, 5);
    let third = rate.admit(state, 140, 5, 5).unwrap();
    let state = rate.give_back(third, rate.over_at(100, 5), 140, 5);
    assert_eq!(state, 190, "only the third is left");
}

/// A request that one of several limits rejects has charged none, or takes its charges back.
#[test]
fn a_rejected_request_leaves_no_charge_behind() {
    let now = Now { monotonic: 5, wall: 20_000 * DAY };
    let rules = [
        Rule::Rate(Gcra::new(1, 1000, 5).unwrap()),
        Rule::Quota { most: 5, period: Period::Month(31) },
        Rule::Concurrency { most: 5 },
    ];
    for full in rules.map(|rule| match rule {
        Rule::Rate(_) => Rule::Rate(Gcra::new(1, 1000, 1).unwrap()),
        Rule::Quota { period, .. } => Rule::Quota { most: 1, period },
        Rule::Concurrency { .. } => Rule::Concurrency { most: 1 },
        Rule::Leased(_) => unreachable!(),
    }) {
        let counts = [Count::new(), Count::new(), Count::new(), Count::new()];
        let rules = [rules[0], rules[1], rules[2], full];
        let charges =
            || counts.iter().zip(rules).map(|(count, rule)| Charge { count, lane: None, rule, cost: 1, whole: 1 });
        assert!(take(charges(), now, &mut [0; 4], || now));
        let states = || [0, 1, 2, 3].map(|place| counts[place].state());
        let before = states();
        assert!(!take(charges(), now, &mut [0; 4], || now));
        assert_eq!(states(), before);
        // Another thread has charged the last count between the look and the charge.
        let looks = std::cell::Cell::new(0);
        counts[3].set(|_| 0);
        let racing = charges().inspect(|charge| {
            if charge.rule == full && looks.replace(looks.get() + 1) == 1 {
                charge.count.set(|state| full.admit(state, now, 1, 1).unwrap());
            }
        });
        let passed = take(racing, now, &mut [0; 4], || now);
        assert!(!passed);
        assert_eq!(states()[..3], before[..3]);
    }
}
