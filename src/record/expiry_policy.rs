//! How long keys may live, by the kind of their owner and by their environment.

use std::time::{Duration, SystemTime};

use super::{KeyRecord, Owner};
use crate::clock::to_micros;

/// How long the keys of a [`KeyManager`](crate::KeyManager) may live. Pass it to
/// [`KeyManagerBuilder::expiry_policy`](crate::manage::KeyManagerBuilder::expiry_policy).
///
/// A lifetime counts from the creation of a key. The policy applies to every key, or only to those
/// of a kind of owner or of an environment. You can set several. Only the most specific one that
/// matches a key applies to it.
///
/// | order | policy                                                         |
/// |-------|----------------------------------------------------------------|
/// | 1     | for this kind of owner, in this environment                    |
/// | 2     | in this environment                                            |
/// | 3     | for this kind of owner                                         |
/// | 4     | for every key                                                  |
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::{KeyFormat, KeyManager, manage::ExpiryPolicy, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// const DAY: Duration = Duration::from_secs(86_400);
/// let manager = KeyManager::builder(MemoryStore::new())
///     .format(KeyFormat::new("acme")?)
///     .expiry_policy(ExpiryPolicy::new().default_lifetime(DAY * 90).max_lifetime(DAY * 365))
///     .expiry_policy(ExpiryPolicy::new().for_users().max_lifetime(DAY * 30).required())
///     .expiry_policy(ExpiryPolicy::new().in_environment("test").min_lifetime(DAY))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it does nothing until it is passed to KeyManagerBuilder::expiry_policy"]
pub struct ExpiryPolicy {
    owner: Option<OwnerKind>,
    environment: Option<String>,
    pub(crate) default: Option<Duration>,
    pub(crate) least: Option<Duration>,
    pub(crate) most: Option<Duration>,
    pub(crate) required: bool,
}

/// The kind of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerKind {
    User,
    ServiceAccount,
}

/// The policies of a manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpiryPolicies(Vec<ExpiryPolicy>);

// === impl ExpiryPolicy ===

impl ExpiryPolicy {
    /// Describes a policy for every key, without bounds yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the policy only to keys of users.
    pub fn for_users(mut self) -> Self {
        self.owner = Some(OwnerKind::User);
        self
    }

    /// Applies the policy only to keys of service accounts.
    pub fn for_service_accounts(mut self) -> Self {
        self.owner = Some(OwnerKind::ServiceAccount);
        self
    }

    /// Applies the policy only to keys in this environment.
    pub fn in_environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Sets the lifetime of a new key whose expiry is not set. Without it, such a key lives for the
    /// maximum, or forever.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.default = Some(lifetime);
        self
    }

    /// Sets the shortest lifetime that a caller can set. An expiry that a key inherits, from its
    /// predecessor or from the actor's key, may be sooner.
    pub fn min_lifetime(mut self, lifetime: Duration) -> Self {
        self.least = Some(lifetime);
        self
    }

    /// Sets the longest lifetime.
    ///
    /// It holds for stored keys too: the manager's layer rejects a key from its creation plus this
    /// time on, whatever its record says. A key whose record does not say when it was created is
    /// rejected.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.most = Some(lifetime);
        self
    }

    /// Requires an expiry: a new key without one is rejected, unless the policy has a default or
    /// the actor's key has an expiry. An edit cannot remove the expiry. Stored keys without an
    /// expiry keep working; to end them, set [`max_lifetime`](Self::max_lifetime).
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    fn has_scope_of(&self, other: &Self) -> bool {
        self.owner == other.owner && self.environment == other.environment
    }

    fn applies_to(&self, owner: Option<&Owner>, environment: Option<&str>) -> bool {
        let is_of_kind = match (self.owner, owner) {
            (None, _)
            | (Some(OwnerKind::User), Some(Owner::User(_)))
            | (Some(OwnerKind::ServiceAccount), Some(Owner::ServiceAccount)) => true,
            (Some(_), _) => false,
        };
        is_of_kind && (self.environment.is_none() || self.environment.as_deref() == environment)
    }

    /// Returns why the bounds contradict each other.
    fn contradiction(&self) -> Option<&'static str> {
        let at_most = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
            (Some(one), Some(other)) => one <= other,
            _ => true,
        };
        if [self.default, self.least, self.most].contains(&Some(Duration::ZERO)) {
            Some("a lifetime is zero, so a key would never work")
        } else if !at_most(self.least, self.most) {
            Some("the minimum is longer than the maximum")
        } else if !at_most(self.default, self.most) {
            Some("the default is longer than the maximum")
        } else if !at_most(self.least, self.default) {
            Some("the default is shorter than the minimum")
        } else {
            None
        }
    }
}

// === impl ExpiryPolicies ===

impl ExpiryPolicies {
    /// Adds a policy, in place of one with the same scope.
    pub(crate) fn set(&mut self, policy: ExpiryPolicy) {
        self.0.retain(|other| !other.has_scope_of(&policy));
        self.0.push(policy);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns why the bounds of a policy contradict each other.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        self.0.iter().find_map(ExpiryPolicy::contradiction)
    }

    /// Returns the most specific policy for a key.
    pub(crate) fn of(&self, owner: Option<&Owner>, environment: Option<&str>) -> Option<&ExpiryPolicy> {
        let matching = self.0.iter().filter(|policy| policy.applies_to(owner, environment));
        matching.max_by_key(|policy| (policy.environment.is_some(), policy.owner.is_some()))
    }

    /// Returns the maximum lifetime of a stored key, and its end. The end is `None` if the record
    /// does not say when the key was created.
    pub(crate) fn bound_of(&self, record: &KeyRecord) -> Option<(Duration, Option<SystemTime>)> {
        let most = self.of(record.owner(), record.environment())?.most?;
        match record.created_at() {
            None => Some((most, None)),
            // A lifetime beyond the representable times is no bound.
            Some(created) => Some((most, Some(end_of(created, most)?))),
        }
    }
}

/// Returns the instant at which a lifetime ends, unless it is not representable.
pub(crate) fn end_of(begin: SystemTime, lifetime: Duration) -> Option<SystemTime> {
    begin.checked_add(lifetime).map(to_micros)
}
