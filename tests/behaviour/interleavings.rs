//! Tests the cache protocol under loom, over all interleavings of database, follower and requests
//! with up to three preemptions, as far as the memory model allows. It includes the library's own
//! file, with loom's atomics.
#![cfg(feature = "cache")]

// Not every test uses all of it.
#[allow(dead_code)]
#[path = "../../src/store/cached/freshness.rs"]
mod freshness;

mod atomics {
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

use freshness::{Epoch, Freshness};
use loom::{
    model::Builder,
    sync::{Arc, Mutex, atomic::AtomicU64, atomic::Ordering},
    thread,
};

const KEY: usize = 0;
const LEASE: u64 = 10;
/// The staleness that a lenient handle may accept.
const LONG: u64 = 2 * LEASE;

/// A node, the database, and the time. A change is in the log from the moment of its commit.
struct World {
    time: AtomicU64,
    database: Mutex<Database>,
    /// The newest number of a beat.
    sequence: AtomicU64,
    freshness: Freshness,
    /// The cached result: whether the key is active, and the epoch.
    kept: Mutex<Option<(bool, Epoch)>>,
}

struct Database {
    is_good: bool,
    /// What was committed: changes, and beats with their numbers.
    log: Vec<Entry>,
}

#[derive(Clone, Copy)]
enum Entry {
    Change,
    Beat(u64),
}

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
    /// The store would be queried.
    Unknown,
}

impl World {
    /// The node is connected and has a cached result and a heartbeat at instant 0.
    fn new(is_good: bool) -> Arc<Self> {
        let freshness = Freshness::new(1);
        freshness.prove(0);
        let kept = Mutex::new(Some((is_good, freshness.epoch(KEY))));
        let database = Mutex::new(Database { is_good, log: Vec::new() });
        Arc::new(Self { time: AtomicU64::new(0), database, sequence: AtomicU64::new(0), freshness, kept })
    }

    fn now(&self) -> u64 {
        self.time.load(Ordering::SeqCst)
    }

    /// Commits a change and then advances the time.
    fn commit(&self, is_good: bool, then: u64) {
        {
            let mut database = self.database.lock().unwrap();
            database.is_good = is_good;
            database.log.push(Entry::Change);
        }
        self.time.fetch_add(then, Ordering::SeqCst);
    }

    /// Performs a heartbeat: changes committed before it are reported before it completes. Returns
    /// how much of the log has been read.
    fn beat(&self, read: usize) -> usize {
        let sent = self.now();
        let end = self.database.lock().unwrap().log.len();
        for _ in read..end {
            self.freshness.changed(KEY);
        }
        self.freshness.prove(sent);
        end
    }

    /// Sends two beats. The later number may be committed first: two nodes have taken them.
    fn send_beats(&self) {
        let first = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        let second = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        for number in [second, first] {
            self.database.lock().unwrap().log.push(Entry::Beat(number));
        }
    }

    /// Reads the newest number, and then hears everything up to a beat with a larger one.
    fn hear_a_beat(&self) {
        let since = self.now();
        let number = self.sequence.load(Ordering::SeqCst);
        self.hear(number, since);
    }

    /// The same with a mistake: the proof counts from when the number was known.
    fn hear_a_beat_and_count_from_the_answer(&self) {
        let number = self.sequence.load(Ordering::SeqCst);
        let since = self.now();
        self.hear(number, since);
    }

    fn hear(&self, number: u64, since: u64) {
        let log = self.database.lock().unwrap().log.clone();
        for entry in log {
            match entry {
                Entry::Change => self.freshness.changed(KEY),
                Entry::Beat(beat) if beat > number => self.freshness.prove(since),
                Entry::Beat(_) => {}
            }
        }
    }

    /// Reconnects: earlier changes are never reported.
    fn reconnect(&self) -> usize {
        let read = self.database.lock().unwrap().log.len();
        let sent = self.now();
        let end = self.database.lock().unwrap().log.len();
        self.freshness.changed_all();
        for _ in read..end {
            self.freshness.changed(KEY);
        }
        self.freshness.prove(sent);
        end
    }

    fn look_up(&self) {
        let epoch = self.freshness.epoch(KEY);
        let is_good = self.database.lock().unwrap().is_good;
        if self.freshness.is_current(KEY, epoch) {
            *self.kept.lock().unwrap() = Some((is_good, epoch));
        }
    }

    /// Reads a thread's own slot, which is filled while the result is fresh, and is left at its
    /// end.
    fn take_a_place_and_ask_there(&self) -> (u64, Answer) {
        let proven_until = self.freshness.proven_until(LEASE);
        let kept = *self.kept.lock().unwrap();
        let since = self.now().saturating_sub(LEASE);
        let place = kept.filter(|(is_good, epoch)| *is_good && self.freshness.is_fresh(KEY, *epoch, since));
        let arrived = self.now();
        match place {
            Some((_, epoch)) if self.now() <= proven_until && self.freshness.is_current(KEY, epoch) => {
                (arrived, Answer::Accepted)
            }
            _ => (arrived, Answer::Unknown),
        }
    }

    fn look_up_and_ask(&self) -> (u64, Answer) {
        self.look_up();
        self.ask()
    }

    /// Reads the cache as a lenient handle does when the store has failed.
    fn ask_leniently(&self) -> (u64, Answer) {
        let arrived = self.now();
        let kept = *self.kept.lock().unwrap();
        let since = self.now().saturating_sub(LONG);
        let is_accepted =
            kept.is_some_and(|(is_good, epoch)| is_good && self.freshness.was_fresh_at(KEY, epoch, since));
        (arrived, if is_accepted { Answer::Accepted } else { Answer::Unknown })
    }

    /// Reads the cache. Returns when the request arrived, and its result.
    fn ask(&self) -> (u64, Answer) {
        let arrived = self.now();
        let kept = *self.kept.lock().unwrap();
        let since = self.now().saturating_sub(LEASE);
        let answer = match kept {
            Some((true, epoch)) if self.freshness.is_fresh(KEY, epoch, since) => Answer::Accepted,
            // Rejected only after a heartbeat that was sent after the request arrived.
            Some((false, epoch)) if self.freshness.is_fresh(KEY, epoch, arrived) => Answer::Refused,
            _ => Answer::Unknown,
        };
        (arrived, answer)
    }
}

/// The key changes and `then` passes, while a follower and a request run concurrently. No later
/// request may get the result `wrong`.
fn in_every_order(
    was_good: bool,
    then: u64,
    wrong: Answer,
    follower: fn(&World),
    request: fn(&World) -> (u64, Answer),
) {
    let mut model = Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let world = World::new(was_good);
        let (following, asked) = (Arc::clone(&world), Arc::clone(&world));
        let following = thread::spawn(move || follower(&following));
        let asked = thread::spawn(move || request(&asked));
        world.commit(!was_good, then);
        let (arrived, answer) = asked.join().unwrap();
        assert!(answer != wrong || arrived < then, "{answer:?} at {arrived}");
        following.join().unwrap();
    });
}

/// The follower was suspended, and catches up while a request is processed.
#[test]
fn a_key_that_was_revoked_longer_ago_than_the_lease_is_not_accepted() {
    let catch_up = |world: &World| {
        world.beat(world.beat(0));
    };
    in_every_order(true, LEASE + 1, Answer::Accepted, catch_up, World::ask);
}

#[test]
fn a_look_up_that_is_overtaken_by_a_change_is_not_trusted() {
    let beat = |world: &World| {
        world.beat(0);
    };
    in_every_order(true, LEASE + 1, Answer::Accepted, beat, World::look_up_and_ask);
}

#[test]
fn what_was_kept_before_a_gap_or_looked_up_during_it_is_not_trusted() {
    let reconnect = |world: &World| {
        world.reconnect();
    };
    in_every_order(true, LEASE + 1, Answer::Accepted, reconnect, World::look_up_and_ask);
}

#[test]
fn a_key_in_a_thread_s_own_place_is_accepted_no_longer_than_in_the_map() {
    let catch_up = |world: &World| {
        world.beat(world.beat(0));
    };
    in_every_order(true, LEASE + 1, Answer::Accepted, catch_up, World::take_a_place_and_ask_there);
}

/// A lenient handle, while the channel breaks twice and the key is revoked in between without a
/// notification.
#[test]
fn what_is_remembered_over_gaps_is_no_older_than_it_was_allowed_to_be() {
    let reconnect_twice = |world: &World| {
        world.reconnect();
        world.reconnect();
    };
    in_every_order(true, LONG + 1, Answer::Accepted, reconnect_twice, World::ask_leniently);
}

#[test]
fn a_key_is_not_refused_after_it_has_become_good() {
    let catch_up = |world: &World| {
        world.beat(world.beat(0));
    };
    in_every_order(false, 1, Answer::Refused, catch_up, World::ask);
}

/// One node sends beats, another follows, and a request comes, while the key is revoked.
fn with_a_sender(follow: fn(&World)) {
    let mut model = Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let world = World::new(true);
        let [sending, following, asked] = [(); 3].map(|()| Arc::clone(&world));
        let sending = thread::spawn(move || sending.send_beats());
        let following = thread::spawn(move || follow(&following));
        let asked = thread::spawn(move || asked.ask());
        world.commit(false, LEASE + 1);
        let (arrived, answer) = asked.join().unwrap();
        assert!(answer != Answer::Accepted || arrived <= LEASE, "{answer:?} at {arrived}");
        sending.join().unwrap();
        following.join().unwrap();
    });
}

#[test]
fn a_beat_of_another_node_proves_what_was_committed_before_its_number_was_read() {
    with_a_sender(World::hear_a_beat);
}

#[test]
#[should_panic(expected = "Accepted at")]
fn a_proof_that_counts_from_the_answer_is_found_to_be_wrong() {
    with_a_sender(World::hear_a_beat_and_count_from_the_answer);
}
