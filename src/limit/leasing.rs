//! Limits of many nodes, which take units from one store of meters.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    clock::LimitClock,
    erased_meters::ErasedMeters,
    lease_log,
    ledger::MeterError,
    limits::{Limits, build},
    meters::MeterStore,
    outage::Outage,
    plans::Plans,
    refiller::Refiller,
    refillers::Refillers,
    rule::Rule,
};
use crate::{clock::nanos, error::ConfigError, key::random_bytes};

/// Builds [`Limits`] of many nodes: see [`Limits::leased`].
#[must_use = "a builder does nothing until it is built"]
pub struct LeasedLimitsBuilder {
    plans: Plans,
    store: Arc<dyn ErasedMeters>,
    store_of_rates: Option<Arc<dyn ErasedMeters>>,
    settings: LeaseSettings,
    clock: LimitClock,
}

/// The settings of leased limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseSettings {
    pub(super) lease: Duration,
    pub(super) nodes: u32,
    pub(super) outage: Outage,
    /// Whether a request without credits gets 402.
    pub(super) payment_required: bool,
}

/// The lengths that a lease may have.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

impl Limits {
    /// Returns a builder of limits that many nodes count together, in a store of meters. All nodes
    /// must have the same plans.
    ///
    /// A node takes units from the store before it admits requests, and more in the background
    /// while they are used. So a key that is in use waits for no round trip; its first request on a
    /// node waits for one, and so does the first one after a pause longer than the lease. What is
    /// taken counts at the store at once, so a quota and credits are never exceeded. Units of a
    /// rate expire one lease after the node has asked for them, so that all nodes together admit at
    /// most [`bound`](Self::bound) requests.
    ///
    /// Limits on requests at the same time count in each process.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tower_api_key::limit::{Limit, Limits, MeterStore, Plans, Rate};
    ///
    /// # fn limits(store: impl MeterStore) -> Result<(), tower_api_key::ConfigError> {
    /// let plans = Plans::new().plan("free", [Limit::rate("burst", Rate::per_second(10).burst(20))]);
    /// let limits = Limits::leased(plans, store).lease(Duration::from_secs(1)).nodes(10).build()?;
    /// assert_eq!(limits.bound("burst", Duration::from_secs(1)), Some(40)); // 20 + 10 * (1 + 1)
    /// # Ok(())
    /// # }
    /// ```
    pub fn leased(plans: Plans, store: impl MeterStore) -> LeasedLimitsBuilder {
        let settings = LeaseSettings {
            lease: Duration::from_secs(1),
            nodes: 10,
            outage: Outage::default(),
            payment_required: false,
        };
        LeasedLimitsBuilder {
            plans,
            store: Arc::new(store),
            store_of_rates: None,
            settings,
            clock: LimitClock::system(),
        }
    }

    /// Returns how many requests of cost 1 a rate admits at most in any time of this length:
    /// `burst + rate × window` in one process, and `burst + rate × (window + lease)` on all nodes
    /// together. It is the largest of all plans that have a rate with this name; `None` if there is
    /// none. [`leased`](Self::leased) has an example.
    ///
    /// Each key, owner or organization has a bound of its own. A number of a record is not counted
    /// in. While the store fails, the shares of the nodes add at most `rate × time`, as long as
    /// there are no more nodes than [`nodes`](LeasedLimitsBuilder::nodes) says.
    pub fn bound(&self, limit: &str, window: Duration) -> Option<u64> {
        let lease = self.limiter().refillers.as_ref().map_or(Duration::ZERO, |refillers| refillers.settings().lease);
        let rates = self.limiter().all().filter(|(_, known)| *known.name == *limit);
        let rates = rates.filter_map(|(_, known)| match known.rule() {
            Ok(Rule::Rate(rate)) => Some(rate.bound(nanos(window.saturating_add(lease)))),
            _ => None,
        });
        rates.max()
    }

    /// Gives back to the store what this node has leased of quotas and credits. Call it when the
    /// node ends, after its last request. What a node has leased when it is killed is lost: at most
    /// one lease of each meter, which is about what the node uses in half a lease time.
    ///
    /// # Errors
    ///
    /// [`MeterError::Store`]: call it again. Until then, a quota is short of these units, and
    /// credits count them as leased, and after 30 seconds as lost.
    pub async fn flush(&self) -> Result<(), MeterError> {
        for refiller in self.limiter().refillers.iter().flat_map(Refillers::all) {
            refiller.flush().await.map_err(MeterError::Store)?;
        }
        Ok(())
    }
}

impl LeasedLimitsBuilder {
    /// Keeps rates in another store of meters than quotas and credits: for example rates in Valkey,
    /// which is fast, and the others in PostgreSQL, which loses nothing.
    ///
    /// ```no_run
    /// use tower_api_key::limit::{Limits, MeterStore, Plans};
    ///
    /// # fn limits(plans: Plans, postgres: impl MeterStore, valkey: impl MeterStore) -> Result<(), tower_api_key::ConfigError> {
    /// let limits = Limits::leased(plans, postgres).rates_in(valkey).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rates_in(mut self, store: impl MeterStore) -> Self {
        self.store_of_rates = Some(Arc::new(store));
        self
    }

    /// Sets for how long the units of a rate count after a node has asked for them, from 100 ms to
    /// 10 s; the default is 1 s. A shorter lease lowers the [bound](Limits::bound), and the store
    /// is asked more often. After this time, unused units of quotas and credits come back too, and
    /// a node asks again for what the store did not have. A call fails after three quarters of it,
    /// but at most 1 s. [`Limits::leased`] has an example.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Sets how many nodes there are at most, for [`Outage::Share`]; the default is 10. Count those
    /// that run during a deployment.
    /// [`Limits::leased`] has an example.
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.settings.nodes = nodes;
        self
    }

    /// Sets what becomes of rates while the store fails.
    ///
    /// ```no_run
    /// use tower_api_key::limit::{Limits, MeterStore, Outage, Plans};
    ///
    /// # fn limits(plans: Plans, store: impl MeterStore) -> Result<(), tower_api_key::ConfigError> {
    /// let limits = Limits::leased(plans, store).while_store_fails(Outage::Closed).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn while_store_fails(mut self, outage: Outage) -> Self {
        self.settings.outage = outage;
        self
    }

    /// Answers a request without credits with 402 Payment Required in place of 429.
    ///
    /// ```no_run
    /// use tower_api_key::limit::{Limits, MeterStore, Plans};
    ///
    /// # fn limits(plans: Plans, store: impl MeterStore) -> Result<(), tower_api_key::ConfigError> {
    /// let limits = Limits::leased(plans, store).payment_required().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn payment_required(mut self) -> Self {
        self.settings.payment_required = true;
        self
    }

    /// Checks the plans and the lease. [`Limits::leased`] has an example.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`LimitsBuilder::build`](super::LimitsBuilder::build), and
    /// [`ConfigError::Limit`] for a lease that is shorter than 100 ms or longer than 10 s, for no
    /// nodes, and for a quota or credits if the store
    /// [keeps rates alone](MeterStore::keeps_allowances).
    pub fn build(self) -> Result<Limits, ConfigError> {
        let wrong = |why: &str| ConfigError::Limit("a lease".to_owned(), why.to_owned());
        if !LEASES.contains(&self.settings.lease) {
            return Err(wrong("it is from 100 ms to 10 s"));
        }
        if self.settings.nodes == 0 {
            return Err(wrong("it has at least one node"));
        }
        let node = random_bytes().map_err(|_| wrong("the system has no random numbers"))?;
        let refiller = |store| Arc::new(Refiller::new(store, self.settings, self.clock.clone(), node));
        let of_allowances = refiller(self.store);
        let of_rates = self.store_of_rates.map_or_else(|| Arc::clone(&of_allowances), refiller);
        lease_log::begin();
        build(self.plans, self.clock, Some(Refillers::new(of_rates, of_allowances)))
    }
}

impl fmt::Debug for LeasedLimitsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plans, settings, .. } = self;
        f.debug_struct("LeasedLimitsBuilder").field("plans", plans).field("settings", settings).finish_non_exhaustive()
    }
}
