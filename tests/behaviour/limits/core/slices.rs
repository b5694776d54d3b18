//! Units that a node has taken from a store of meters.

use proptest::prelude::*;

use super::{
    count::Count,
    gcra::{Full, LEASE},
    lane::Lane,
    rule::{Now, Rule},
    slice::{self, MOST_UNITS, Slice, SliceKind},
};

const SECOND: u64 = 1_000_000_000;
/// The longest time by which an end is rounded down.
const TICK: u64 = 1 << 24;

fn slice_of(kind: SliceKind) -> Slice {
    Slice { kind, most: 1_000, ahead: 0 }
}

proptest! {
    #[test]
    fn units_count_until_their_end_and_not_after_it(
        now in 0..(1_u64 << 60), lasts in 0..3600 * SECOND, units in 0..=MOST_UNITS,
    ) {
        let state = slice::state(units, Some(now + lasts), now);
        prop_assert_eq!(slice::units(state, now + lasts), 0, "at the end");
        prop_assert_eq!(slice::units(state, now + lasts + 365 * 86_400 * SECOND), 0, "a year later");
        if lasts > TICK {
            prop_assert_eq!(slice::units(state, now + lasts - TICK), units, "a tick before the end");
        }
    }

    #[test]
    fn no_more_is_spent_than_was_taken(units in 0..50_u64, costs in prop::collection::vec(1..20_u64, 1..40)) {
        for kind in [SliceKind::Rate, SliceKind::Quota, SliceKind::Credits] {
            let (mut state, mut spent) = (slice::state(units, Some(10 * SECOND), 0), 0);
            for cost in &costs {
                match slice_of(kind).admit(state, SECOND, *cost, *cost) {
                    Ok(charged) => (state, spent) = (charged, spent + cost),
                    Err(full) => prop_assert_eq!(full, Full::Ask),
                }
            }
            prop_assert_eq!(slice::units(state, SECOND), units - spent);
        }
    }

    #[test]
    fn lanes_spend_no_more_than_the_slice_has_and_nothing_after_its_end(
        units in 0..200_u64,
        steps in prop::collection::vec((0..8 * LEASE, 0..3_usize, 1..40_u32), 1..60),
    ) {
        let (count, lanes) = (Count::new(), [Lane::new(), Lane::new(), Lane::new()]);
        let end = 5 * LEASE;
        count.set(|_| slice::state(units, Some(end), 0));
        let (mut now, mut spent) = (0, 0);
        for (pause, thread, requests) in steps {
            now += pause;
            for _ in 0..requests {
                let number = u32::try_from(thread).unwrap() + 1;
                if lanes[thread].charge(&count, number, slice_of(SliceKind::Rate), now).is_ok() {
                    prop_assert!(now < end, "after the end");
                    spent += 1;
                }
            }
        }
        prop_assert!(spent <= units);
    }
}

#[test]
fn units_of_a_rate_go_back_to_their_own_slice_only() {
    let rule = Rule::Leased(slice_of(SliceKind::Rate));
    let now = Now { monotonic: SECOND, wall: 0 };
    let charged = slice::state(4, Some(3 * SECOND), 0);
    assert_eq!(slice::units(rule.give_back(charged, charged, now, 2), SECOND), 6);
    let later = slice::state(4, Some(4 * SECOND), 0);
    assert_eq!(rule.give_back(later, charged, now, 2), later);
}

#[test]
fn units_of_a_quota_go_back_in_their_period_only() {
    let rule = Rule::Leased(slice_of(SliceKind::Quota));
    let (day, now) = (86_400 * SECOND, Now { monotonic: SECOND, wall: 0 });
    let charged = slice::state(4, Some(day), 0);
    let next_slice = slice::state(9, Some(day + SECOND), 0);
    assert_eq!(slice::units(rule.give_back(next_slice, charged, now, 2), SECOND), 11);
    let next_day = slice::state(9, Some(2 * day), 0);
    assert_eq!(rule.give_back(next_day, charged, now, 2), next_day);
}

#[test]
fn credits_go_back_whenever_they_do() {
    let rule = Rule::Leased(slice_of(SliceKind::Credits));
    let year = 365 * 86_400 * SECOND;
    let charged = slice::state(4, None, 0);
    let back = rule.give_back(slice::emptied(charged), charged, Now { monotonic: 3 * year, wall: 0 }, 2);
    assert_eq!(slice::units(back, 3 * year + SECOND), 2);
}
