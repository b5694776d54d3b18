//! The cache's protocol under loom: every order in which the database, the follower and the requests can meet with up to three preemptions,
//! as far as the memory model lets them. What is checked is the very file of the library; its atomics are loom's here.

// Not all of it has a part in each play.
#[allow(dead_code)]
#[path = "../src/store/cached/freshness.rs"]
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

/// A node, the database, and the time. A change is in the log at the moment at which it is committed.
struct World {
    time: AtomicU64,
    database: Mutex<Database>,
    freshness: Freshness,
    /// What the node has kept: whether the key is good, and the epoch.
    kept: Mutex<Option<(bool, Epoch)>>,
}

struct Database {
    is_good: bool,
    /// How many changes were committed.
    log: usize,
}

/// What a request has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
    /// The store would be asked.
    Unknown,
}

impl World {
    /// The node has a connection, an answer in memory, and a heartbeat of the instant 0.
    fn new(is_good: bool) -> Arc<Self> {
        let freshness = Freshness::new(1);
        freshness.prove(0);
        let kept = Mutex::new(Some((is_good, freshness.epoch(KEY))));
        let database = Mutex::new(Database { is_good, log: 0 });
        Arc::new(Self { time: AtomicU64::new(0), database, freshness, kept })
    }

    fn now(&self) -> u64 {
        self.time.load(Ordering::SeqCst)
    }

    /// Commits, and lets so much time pass afterwards.
    fn commit(&self, is_good: bool, then: u64) {
        {
            let mut database = self.database.lock().unwrap();
            database.is_good = is_good;
            database.log += 1;
        }
        self.time.fetch_add(then, Ordering::SeqCst);
    }

    /// A heartbeat: whatever was committed before it is told before it is back. Returns how much of the log has been read.
    fn beat(&self, read: usize) -> usize {
        let sent = self.now();
        let end = self.database.lock().unwrap().log;
        for _ in read..end {
            self.freshness.changed(KEY);
        }
        self.freshness.prove(sent);
        end
    }

    /// Connects anew: what was committed before is never told.
    fn reconnect(&self) -> usize {
        let read = self.database.lock().unwrap().log;
        let sent = self.now();
        let end = self.database.lock().unwrap().log;
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
        if self.freshness.stands(KEY, epoch) {
            *self.kept.lock().unwrap() = Some((is_good, epoch));
        }
    }

    /// Asks memory. When the request arrived, and what it was told.
    fn ask(&self) -> (u64, Answer) {
        let arrived = self.now();
        let kept = *self.kept.lock().unwrap();
        let since = self.now().saturating_sub(LEASE);
        let answer = match kept {
            Some((true, epoch)) if self.freshness.trusts(KEY, epoch, since) => Answer::Accepted,
            // Refused only behind a heartbeat that was sent after the request arrived.
            Some((false, epoch)) if self.freshness.trusts(KEY, epoch, arrived) => Answer::Refused,
            _ => Answer::Unknown,
        };
        (arrived, answer)
    }
}

fn in_every_order(play: impl Fn() + Send + Sync + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(3);
    model.check(play);
}

/// The follower has been stopped, and catches up while a request is being answered.
#[test]
fn a_key_that_was_revoked_longer_ago_than_the_lease_is_not_accepted() {
    in_every_order(|| {
        let world = World::new(true);
        let follower = thread::spawn({
            let world = Arc::clone(&world);
            move || world.beat(world.beat(0))
        });
        let request = thread::spawn({
            let world = Arc::clone(&world);
            move || world.ask()
        });
        world.commit(false, LEASE + 1);
        let (arrived, answer) = request.join().unwrap();
        assert!(answer != Answer::Accepted || arrived <= LEASE, "{answer:?} at {arrived}");
        follower.join().unwrap();
    });
}

#[test]
fn a_look_up_that_is_overtaken_by_a_change_is_not_trusted() {
    in_every_order(|| {
        let world = World::new(true);
        let follower = thread::spawn({
            let world = Arc::clone(&world);
            move || world.beat(0)
        });
        let requests = thread::spawn({
            let world = Arc::clone(&world);
            move || {
                world.look_up();
                world.ask()
            }
        });
        world.commit(false, LEASE + 1);
        let (arrived, answer) = requests.join().unwrap();
        assert!(answer != Answer::Accepted || arrived <= LEASE, "{answer:?} at {arrived}");
        follower.join().unwrap();
    });
}

#[test]
fn what_was_kept_before_a_gap_or_looked_up_during_it_is_not_trusted() {
    in_every_order(|| {
        let world = World::new(true);
        let follower = thread::spawn({
            let world = Arc::clone(&world);
            move || world.reconnect()
        });
        let requests = thread::spawn({
            let world = Arc::clone(&world);
            move || {
                world.look_up();
                world.ask()
            }
        });
        world.commit(false, LEASE + 1);
        let (arrived, answer) = requests.join().unwrap();
        assert!(answer != Answer::Accepted || arrived <= LEASE, "{answer:?} at {arrived}");
        follower.join().unwrap();
    });
}

/// A lenient handle, while the channel breaks twice and the key is revoked in between, untold.
#[test]
fn what_is_remembered_over_gaps_is_no_older_than_it_was_allowed_to_be() {
    const LONG: u64 = 2 * LEASE;
    in_every_order(|| {
        let world = World::new(true);
        let follower = thread::spawn({
            let world = Arc::clone(&world);
            move || (world.reconnect(), world.reconnect())
        });
        let request = thread::spawn({
            let world = Arc::clone(&world);
            move || {
                let arrived = world.now();
                let (is_good, epoch) = world.kept.lock().unwrap().unwrap();
                (arrived, is_good && world.freshness.remembers(KEY, epoch, world.now().saturating_sub(LONG)))
            }
        });
        world.commit(false, LONG + 1);
        let (arrived, is_accepted) = request.join().unwrap();
        assert!(!is_accepted || arrived <= LONG, "at {arrived}");
        follower.join().unwrap();
    });
}

#[test]
fn a_key_is_not_refused_after_it_has_become_good() {
    in_every_order(|| {
        let world = World::new(false);
        let follower = thread::spawn({
            let world = Arc::clone(&world);
            move || world.beat(world.beat(0))
        });
        let request = thread::spawn({
            let world = Arc::clone(&world);
            move || world.ask()
        });
        world.commit(true, 1);
        let (arrived, answer) = request.join().unwrap();
        assert!(answer != Answer::Refused || arrived < 1, "{answer:?} at {arrived}");
        follower.join().unwrap();
    });
}
