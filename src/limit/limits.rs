//! Limits of one process.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    count::{Charged, MOST_CHARGES, take},
    counts::Counts,
    gcra::Full,
    metered::{Metered, MeteredLimit, rules},
    plans::{Limit, Plans, Subject},
    rule::{Kind, Now},
};
use crate::{
    clock::LimitClock,
    error::ConfigError,
    record::{Generation, KeyRecord},
    rejection::{Reason, Rejection},
    sharded_arc::{ArcShard, ShardedArc},
};

/// Limits that a layer applies: see
/// [`ApiKeyLayerBuilder::limits`](crate::layer::ApiKeyLayerBuilder::limits). A clone counts together
/// with the original. [`Plans`] has an example.
#[derive(Clone)]
pub struct Limits(ShardedArc<Limiter>);

/// Builds [`Limits`].
#[must_use = "a builder does nothing until it is built"]
pub struct LimitsBuilder {
    plans: Plans,
    clock: LimitClock,
}

/// The state of limits.
pub(crate) struct Limiter {
    id: Generation,
    plans: HashMap<Box<str>, Arc<[Limit]>>,
    default: Option<Arc<[Limit]>>,
    counts: Counts,
    clock: LimitClock,
}

/// The charges of an admitted request, which can be undone.
pub(crate) struct Admitted {
    pub(super) charged: Charged,
}

/// What is left of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// The name of the limit.
    pub limit: String,
    /// Whose requests it counts together.
    pub subject: Subject,
    /// How many requests pass now.
    pub requests: u64,
    /// When the limit is full again; `None` for a limit on requests at the same time.
    pub refills_after: Option<Duration>,
}

// === impl Limits ===

impl Limits {
    /// Returns a builder of limits that count in this process. They are exact for one process; with
    /// several, each has its own counts.
    pub fn in_process(plans: Plans) -> LimitsBuilder {
        LimitsBuilder { plans, clock: LimitClock::system() }
    }

    /// Returns what is left of the limits of a record. Charges nothing, and keeps nothing of the
    /// record.
    ///
    /// # Errors
    ///
    /// Returns `None` if the record names an unknown plan.
    pub fn remaining(&self, record: &KeyRecord) -> Option<Vec<Remaining>> {
        self.0.remaining(record)
    }

    pub(crate) fn shard(&self) -> ArcShard<Limiter> {
        self.0.shard()
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("counts", &self.0.counts.len()).finish_non_exhaustive()
    }
}

// === impl LimitsBuilder ===

impl LimitsBuilder {
    /// Reads the time from `now`, for tests.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = LimitClock::new(now);
        self
    }

    /// Checks the plans.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Limit`] for a limit with numbers out of range, a name that is empty or
    /// used twice in a plan, more than 8 limits in a plan, and [`ConfigError::Plan`] for two plans of
    /// one name, and for a default plan that does not exist.
    pub fn build(self) -> Result<Limits, ConfigError> {
        let mut plans = HashMap::new();
        for (name, mut limits) in self.plans.plans {
            for (place, limit) in limits.iter().enumerate() {
                let wrong = |why: &str| ConfigError::Limit(format!("{name}: {}", limit.name), why.to_owned());
                limit.rule(None).map_err(wrong)?;
                let is_name = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
                if limit.name.is_empty() || limit.name.len() > 64 || !limit.name.bytes().all(is_name) {
                    return Err(wrong(
                        "a name has 1 to 64 letters, digits, spaces and signs of ASCII, without \" and \\",
                    ));
                }
                if limits[..place].iter().any(|other| other.name == limit.name) {
                    return Err(wrong("two limits of a plan have this name"));
                }
            }
            if limits.len() > MOST_CHARGES {
                return Err(ConfigError::Plan(name.into(), "a plan has at most 8 limits".to_owned()));
            }
            limits.sort_by_key(|limit| match limit.subject {
                Subject::Key => 0,
                Subject::Owner => 1,
                Subject::Organization => 2,
            });
            if plans.insert(name.clone(), Arc::from(limits)).is_some() {
                return Err(ConfigError::Plan(name.into(), "two plans have this name".to_owned()));
            }
        }
        let default = match self.plans.default {
            Some(name) => match plans.get(&name) {
                Some(plan) => Some(Arc::clone(plan)),
                None => {
                    return Err(ConfigError::Plan(name.into(), "there is no such plan to be the default".to_owned()));
                }
            },
            None => None,
        };
        let (id, counts) = (Generation::unique(), Counts::new());
        Ok(Limits(ShardedArc::new(Limiter { id, plans, default, counts, clock: self.clock })))
    }
}

// === impl Limiter ===

impl Limiter {
    /// Returns the plan of a record; `None` if it has no limits.
    fn plan(&self, record: &KeyRecord) -> Result<Option<&Arc<[Limit]>>, Rejection> {
        match record.plan() {
            Some(name) => match self.plans.get(name) {
                Some(plan) => Ok(Some(plan)),
                None => Err(Rejection::misconfigured(&format!("plan {name:?}"))),
            },
            None => Ok(self.default.as_ref()),
        }
    }

    /// Calls `with` with the limits of a record; with `None` if it has none.
    #[inline]
    fn metered<R>(&self, record: &KeyRecord, with: impl FnOnce(Option<&Metered>) -> R) -> Result<R, Rejection> {
        let resolve = |plan| Metered::new(self.id, plan, &self.counts, record);
        if let Some(kept) = record.metered() {
            match kept.get() {
                Some(metered) if metered.limiter == self.id => return Ok(with(Some(metered))),
                Some(_) => {}
                None => {
                    let Some(plan) = self.plan(record)? else { return Ok(with(None)) };
                    let metered = kept.get_or_init(|| Box::new(resolve(plan)));
                    if metered.limiter == self.id {
                        return Ok(with(Some(metered)));
                    }
                }
            }
        }
        let Some(plan) = self.plan(record)? else { return Ok(with(None)) };
        Ok(with(Some(&resolve(plan))))
    }

    /// Charges a request to the limits of its key, to all or to none.
    #[inline]
    pub(crate) fn admit(&self, record: &KeyRecord) -> Result<Option<Admitted>, Rejection> {
        self.metered(record, |metered| {
            let Some(metered) = metered else { return Ok(None) };
            let now = self.now(metered.has_quota);
            self.counts.sweep(now, || self.now(true));
            let mut charged = Charged::default();
            let charges = metered.of_requests().map(|limit| limit.charge(1, 1));
            if take(charges, now, &mut charged, || self.now(metered.has_quota)) {
                Ok(Some(Admitted { charged }))
            } else {
                Err(self.refused(metered.of_requests(), 1))
            }
        })?
    }

    /// Undoes the charges of a request to its quotas, or to all limits.
    #[cold]
    pub(crate) fn undo(&self, record: &KeyRecord, admitted: &Admitted, all: bool) {
        let _ = self.metered(record, |metered| {
            let now = self.now(true);
            for (limit, charged) in metered.into_iter().flat_map(Metered::of_requests).zip(&admitted.charged) {
                if all || limit.rule.kind() == Kind::Quota {
                    limit.charge(1, 1).undo(*charged, now);
                }
            }
        });
    }

    /// Returns why a request is rejected: the limits that are full, and the longest time of them.
    #[cold]
    fn refused<'m>(&self, limits: impl Iterator<Item = &'m MeteredLimit>, cost: u64) -> Rejection {
        let now = self.now(true);
        let (mut longest, mut reason, mut violated) = (Some(0), None, Vec::new());
        for limit in limits {
            let Some(full) = limit.charge(cost, cost).full(now) else { continue };
            violated.push(limit.limit().name.clone());
            let wait = match full {
                Full::For(wait) => Some(wait),
                Full::Forever => None,
            };
            let is_longer = longest.is_some_and(|longest| wait.is_none_or(|wait| wait >= longest));
            if is_longer {
                longest = wait;
                reason = Some(match limit.rule.kind() {
                    Kind::Rate => Reason::RateLimited,
                    Kind::Quota => Reason::QuotaExceeded,
                    Kind::Concurrency => Reason::ConcurrencyLimited,
                });
            }
        }
        // Another request may have ended meanwhile, so that no limit is full any more.
        let reason = reason.unwrap_or(Reason::RateLimited);
        Rejection::limited(reason, violated, longest.map(Duration::from_nanos))
    }

    fn remaining(&self, record: &KeyRecord) -> Option<Vec<Remaining>> {
        let Some(plan) = self.plan(record).ok()? else { return Some(Vec::new()) };
        let now = self.now(true);
        let remaining = |(place, rule): (usize, super::rule::Rule)| {
            let limit: &Limit = &plan[place];
            let state = self.counts.state(&limit.name, rule, limit.subject, record);
            Remaining {
                limit: limit.name.to_string(),
                subject: limit.subject,
                requests: rule.remaining(state, now),
                refills_after: rule.refills_after(state, now).map(Duration::from_nanos),
            }
        };
        Some(rules(plan, record).map(remaining).collect())
    }

    #[inline]
    fn now(&self, reads_wall: bool) -> Now {
        Now { monotonic: self.clock.monotonic(), wall: if reads_wall { self.clock.wall() } else { 0 } }
    }
}
