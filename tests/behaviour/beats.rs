//! Runs many nodes of the shared beat under virtual time, with a server between them, and faults.
//! It includes the library's own file. The same run with a planted mistake must be found.
#![cfg(all(feature = "cache", feature = "postgres-no-tls"))]

// Not every test uses all of it.
#[allow(dead_code)]
#[path = "../../src/store/postgres/beat.rs"]
mod beat;
#[allow(
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a few servers and nodes"
)]
mod world;

use proptest::prelude::*;

use self::{
    beat::{Beats, Heard, Read, skewed_wait},
    world::{Mistake, Run, World, Wrong},
};

const MS: u64 = 1_000_000;
const LEASE: u64 = 1000 * MS;

/// Faults of the holder, of other nodes and of the server, at any time.
fn faults() -> impl Strategy<Value = Run> {
    (any::<u64>(), 2..9_usize, 1..120_u64).prop_map(|(seed, nodes, delay)| Run {
        seed,
        nodes,
        delay: delay * MS,
        has_failover: seed % 3 == 0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_proof_is_wrong_whatever_fails(run in faults()) {
        World::run(run, None).unwrap();
    }

    #[test]
    fn while_one_node_fails_all_others_keep_their_proofs(seed in any::<u64>(), nodes in 3..40_usize) {
        let run = Run { seed, nodes, delay: 15 * MS, has_failover: false };
        let counts = World::run_with_a_failing_holder(run, None).unwrap();
        prop_assert_eq!(counts.unproven, 0, "looks without a proof, of {}", counts.looks);
        // Four, and a few when a node takes the place of the holder.
        prop_assert!(counts.most_beats_in_a_second <= 12, "{} beats", counts.most_beats_in_a_second);
        // All nodes ask when a flood begins, and then a few in a second.
        prop_assert!(counts.most_asks_in_a_second <= nodes + 8, "{} asks", counts.most_asks_in_a_second);
    }
}

/// Runs until a run is wrong.
fn found(mistake: Mistake) -> Option<Wrong> {
    (0..400).find_map(|seed| {
        let run = Run { seed, nodes: 6, delay: (10 + seed % 100) * MS, has_failover: seed % 3 == 0 };
        World::run(run, Some(mistake)).err()
    })
}

#[test]
fn each_planted_mistake_is_found() {
    for mistake in [
        Mistake::EqualNumber,
        Mistake::InstantOfTheAnswer,
        Mistake::AnyServer,
        Mistake::BeatOvertakes,
        Mistake::ForgottenGap,
    ] {
        assert!(found(mistake).is_some(), "{mistake:?}");
    }
    let silent = |mistake| {
        (0..40).any(|seed| {
            let run = Run { seed, nodes: 6, delay: 15 * MS, has_failover: false };
            World::run_with_a_failing_holder(run, Some(mistake)).unwrap().unproven > 0
        })
    };
    assert!(silent(Mistake::NobodyElseBeats));
    let run = |seed| Run { seed, nodes: 60, delay: 15 * MS, has_failover: false };
    let counts = |mistake| (0..6).map(move |seed| World::run_with_a_failing_holder(run(seed), Some(mistake)).unwrap());
    assert!(counts(Mistake::AllSend).any(|counts| counts.most_beats_in_a_second > 12));
    assert!(counts(Mistake::DeafToAsks).any(|counts| counts.most_asks_in_a_second > 60 + 8));
}

/// Returns the number of beats in two seconds. The holder is asked once, and a beat takes this
/// long to come back.
fn beats_of_an_asked_holder(took: u64) -> i64 {
    let mut beats = Beats::new(LEASE, 0, 0);
    beats.hold();
    beats.begin_beat(0, 0);
    beats.hear(took, 1, 0, 0);
    assert_eq!(beats.beat_due(), LEASE / 4);
    beats.asked(10 * MS, 0);
    let mut count = 0;
    while beats.beat_due() <= 2 * LEASE {
        let now = beats.beat_due();
        beats.begin_beat(now, 0);
        assert_eq!(beats.beat_due(), now + LEASE / 4, "none is sent before the last one is back");
        count += 1;
        beats.hear(now + took, 1 + count, 0, 0);
    }
    count
}

#[test]
fn an_asked_holder_sends_forty_beats_a_second_and_no_more() {
    // Until 1.01 s, and then one in a quarter of the lease.
    assert_eq!(beats_of_an_asked_holder(MS), 40 + 4);
}

#[test]
fn an_asked_holder_sends_fewer_beats_if_they_take_long() {
    assert_eq!(beats_of_an_asked_holder(6 * MS + MS / 4), 10 + 4);
    assert_eq!(beats_of_an_asked_holder(20 * MS), 8);
}

/// A beat that a stranger sends again, of this server or of an earlier life of it, changes nothing: a
/// late beat stays late, and the session that listens stays open.
#[test]
fn a_repeated_beat_is_ignored() {
    let mut beats = Beats::new(LEASE, 0, 0);
    beats.begin_read(MS, 0, 0);
    beats.read(2 * MS, Read { at: MS, number: 7, server: 1 });
    assert_eq!(beats.hear(3 * MS, 8, 1, 0), Heard::Proof(MS));
    beats.begin_read(4 * MS, 0, 0);
    beats.read(5 * MS, Read { at: 4 * MS, number: 8, server: 1 });
    let (beat_due, lost_at) = (beats.beat_due(), beats.lost_at());
    for (number, server) in [(8, 1), (7, 1), (5, 2)] {
        assert_eq!(beats.hear(LEASE / 4, number, server, 0), Heard::Nothing);
        assert_eq!((beats.beat_due(), beats.lost_at()), (beat_due, lost_at));
    }
    assert_eq!(beats.hear(LEASE / 4, 9, 2, 0), Heard::OtherServer);
}

/// The listening session goes on while reads fail, for as long as it would without a beat.
#[test]
fn a_read_that_fails_is_repeated_after_a_pause() {
    let mut beats = Beats::new(LEASE, 0, 0);
    beats.hear(MS, 1, 1, 0);
    beats.begin_read(2 * MS, 0, 0);
    beats.read_failed(500 * MS);
    assert_eq!(beats.read_due(499 * MS), 2 * MS + LEASE / 4);
    let lost_at = beats.lost_at();
    beats.hear(2 * LEASE, 2, 1, 0);
    assert_eq!(beats.lost_at(), lost_at.max(500 * MS + 3 * LEASE + 10 * (LEASE / 40)), "although beats are heard");
    beats.begin_read(2 * LEASE, 0, 0);
    beats.read(2 * LEASE, Read { at: 2 * LEASE, number: 2, server: 1 });
    assert!(beats.lost_at() > 4 * LEASE);
}

#[test]
fn a_wait_is_mostly_late_and_never_too_late() {
    const MOST: u64 = 125_000_000;
    let waits: Vec<u64> = (0..1_000_u64).map(|part| skewed_wait(u64::MAX / 1_000 * part, MOST)).collect();
    assert!(waits.is_sorted());
    assert_eq!(waits[0], 0);
    assert!(skewed_wait(u64::MAX, MOST) <= MOST && skewed_wait(u64::MAX, MOST) > MOST / 100 * 99);
    // The first of 1,000 nodes is early, and a quarter of the time later only a few are.
    let early = waits.iter().filter(|wait| **wait < MOST / 4).count();
    assert!((2..10).contains(&early), "{early}");
}
