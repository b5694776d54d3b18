//! All counts of a process, by limit and subject.
//!
//! Only keys that were verified get a count. A count that equals a new one is removed, so memory
//! grows with the subjects whose limits are not full, and never with unknown keys.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hash},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use hashbrown::{HashTable, hash_table::Entry};

use super::{
    calendar::Period,
    count::Count,
    gcra::Gcra,
    leased::Leased,
    meter::{MeterId, MeterRule},
    plans::{Limit, Subject},
    rule::{Kind, Now, Rule},
};
use crate::record::{KeyRecord, Owner};

/// The counts, in shards: the hash of a count selects its shard.
pub(super) struct Counts {
    shards: Box<[Shard]>,
    /// The seeds of the two halves of a hash. No caller can predict the first half; the second is
    /// fast, and makes it longer.
    seeds: (RandomState, foldhash::quality::RandomState),
    /// The shard to sweep next.
    hand: AtomicUsize,
    /// When to sweep it, in nanoseconds.
    next_sweep: AtomicU64,
}

type Shard = Mutex<HashTable<Arc<Counted>>>;

/// A count, and what identifies it.
pub(super) struct Counted {
    id: CountId,
    pub(super) count: Count,
    leased: Option<Box<Leased>>,
}

/// What a count counts: a limit of a record.
pub(super) struct CountOf<'a> {
    pub(super) limit: &'a Limit,
    pub(super) rule: Rule,
    pub(super) record: &'a KeyRecord,
    /// Units from a store of meters are granted for all numbers of a rule, so they identify the
    /// count.
    pub(super) meter_rule: Option<MeterRule>,
}

/// A hash of the limit and the subject. The lowest bits of its second half hold the kind of the
/// rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CountId([u64; 2]);

const SHARDS: usize = 1024;

/// The pause between the sweeps of two shards. A whole round takes two seconds.
const PAUSE: u64 = 2_000_000;

/// The capacity that a shard keeps, even if it is empty.
const KEPT: usize = 8;

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            seeds: Default::default(),
            hand: AtomicUsize::new(0),
            next_sweep: AtomicU64::new(0),
        }
    }

    /// Returns the count of a limit for the subject of a record, and creates it if there is none,
    /// with what `lease` returns for its meter.
    pub(super) fn get_or_insert(&self, of: &CountOf<'_>, lease: impl FnOnce() -> Option<Box<Leased>>) -> Arc<Counted> {
        let id = self.id(of);
        let mut shard = self.shard(id);
        match shard.entry(id.0[0], |counted| counted.id == id, |counted| counted.id.0[0]) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => {
                let counted = Arc::new(Counted { id, count: Count::new(), leased: lease() });
                place.insert(Arc::clone(&counted));
                counted
            }
        }
    }

    /// Returns a count, if there is one.
    pub(super) fn get(&self, of: &CountOf<'_>) -> Option<Arc<Counted>> {
        let id = self.id(of);
        let shard = self.shard(id);
        shard.find(id.0[0], |counted| counted.id == id).cloned()
    }

    /// Removes the counts of one shard that equal new ones, if it is time to. `read` reads both
    /// clocks.
    #[inline]
    pub(super) fn sweep(&self, now: Now, read: impl Fn() -> Now) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        if now.monotonic >= due {
            self.sweep_next(due, read());
        }
    }

    #[cold]
    fn sweep_next(&self, due: u64, now: Now) {
        let next = now.monotonic.saturating_add(PAUSE);
        if self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return; // Another thread sweeps.
        }
        let mut shard = lock(&self.shards[self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS]);
        // A count that is referenced may be about to be charged.
        shard.retain(|counted| Arc::strong_count(counted) > 1 || !counted.is_fresh(now));
        if shard.capacity() > KEPT && shard.len() < shard.capacity() / 4 {
            let kept = shard.len() * 2;
            shard.shrink_to(kept, |counted| counted.id.0[0]);
        }
    }

    /// Returns the number of counts.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, id: CountId) -> MutexGuard<'_, HashTable<Arc<Counted>>> {
        // The table uses the other half of the hash.
        #[allow(clippy::cast_possible_truncation, reason = "the rest selects a shard")]
        let number = (id.0[1] >> 32) as usize % SHARDS;
        lock(&self.shards[number])
    }

    fn id(&self, of: &CountOf<'_>) -> CountId {
        let subject = SubjectId::of(of.limit.subject, of.record);
        let identity = (&of.limit.name, Numbers::of(of.rule), subject, of.meter_rule);
        let (first, second) = (self.seeds.0.hash_one(&identity), self.seeds.1.hash_one(&identity));
        CountId([first, second & !Kind::MASK | of.rule.kind() as u64])
    }
}

/// The numbers of a rule that are part of the identity of its count: a change of them begins a new
/// count. A count of an old rate would otherwise lock a caller out for as long as the old burst
/// takes, and a count of an old period until its end. The number of a quota is no part of it: what
/// was used stays used.
#[derive(Hash)]
enum Numbers {
    Rate(Gcra),
    Quota(Period),
    Concurrency,
    Credits,
}

impl Numbers {
    fn of(rule: Rule) -> Self {
        match rule {
            Rule::Rate(rate) => Self::Rate(rate),
            Rule::Quota { period, .. } => Self::Quota(period),
            Rule::Concurrency { .. } => Self::Concurrency,
            Rule::Leased(_) => Self::Credits,
        }
    }
}

/// Returns the id of a meter: for each kind its numbers that are part of its identity, the name of
/// the limit, and the subject. Names of limits have no spaces.
pub(super) fn meter_id(limit: &Limit, rule: Rule, record: &KeyRecord) -> MeterId {
    let numbers = match Numbers::of(rule) {
        Numbers::Rate(rate) => format!("rate {}", rate.numbers().map(|number| number.to_string()).join("/")),
        Numbers::Quota(Period::Day) => "quota day".to_owned(),
        Numbers::Quota(Period::Week(first)) => format!("quota week/{first}"),
        Numbers::Quota(Period::Month(first)) => format!("quota month/{first}"),
        Numbers::Concurrency => "concurrency".to_owned(),
        Numbers::Credits => "credits".to_owned(),
    };
    let subject = match SubjectId::of(limit.subject, record) {
        SubjectId::Key(meter) => format!("key {meter}"),
        SubjectId::Organization(organization) => format!("organization {organization}"),
        SubjectId::Owner(organization, owner) => {
            let owner = owner.user().map_or("bots".to_owned(), |user| format!("user/{} {user}", user.len()));
            match organization {
                Some(organization) => format!("{owner} of {organization}"),
                None => owner,
            }
        }
    };
    MeterId::new(format!("{numbers} {} {subject}", limit.name))
}

/// Returns the name of the limit in the id of a meter.
#[cfg(feature = "metrics")]
pub(super) fn limit_of(meter: &MeterId) -> &str {
    let mut words = meter.as_str().split(' ');
    let has_numbers = words.next() != Some("credits");
    words.nth(has_numbers.into()).unwrap_or_default()
}

/// What identifies the subject of a limit.
#[derive(Hash)]
enum SubjectId<'r> {
    Key(&'r str),
    Owner(Option<&'r str>, &'r Owner),
    Organization(&'r str),
}

impl<'r> SubjectId<'r> {
    fn of(subject: Subject, record: &'r KeyRecord) -> Self {
        match (subject, record.owner(), record.organization()) {
            (Subject::Owner, Some(owner), organization)
                if matches!(owner, Owner::User(_)) || organization.is_some() =>
            {
                Self::Owner(organization, owner)
            }
            (Subject::Organization, _, Some(organization)) => Self::Organization(organization),
            _ => Self::Key(record.meter().as_str()),
        }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Counted {
    /// Returns what the count has beside its state if its units come from a store of meters.
    pub(super) fn leased(&self) -> Option<&Leased> {
        self.leased.as_deref()
    }

    fn is_fresh(&self, now: Now) -> bool {
        if let Some(leased) = self.leased() {
            return leased.is_fresh(&self.count, now);
        }
        Kind::of(self.id.0[1]).is_fresh(self.count.state(), now)
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, HashTable<Arc<Counted>>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
