//! The expiry of new, replaced and edited keys, within the policy of the manager.

use std::time::{Duration, SystemTime};

use super::{Actor, KeyManager, KeyManagerBuilder, ManageError};
use crate::record::{ExpiryPolicy, KeyRecord, Owner, end_of};

impl KeyManagerBuilder {
    /// Bounds the lifetime of keys; by default it has no bounds. [`ExpiryPolicy`] has an example.
    ///
    /// Call it once for each kind of owner and environment. A second policy for the same kind and
    /// environment replaces the first. The policy applies to every key that is issued, imported,
    /// replaced or edited. The manager's layers apply a maximum to every request, too.
    pub fn expiry_policy(mut self, policy: ExpiryPolicy) -> Self {
        self.expiry.set(policy);
        self
    }
}

impl KeyManager {
    /// Returns the expiry of a new key: the requested one, the default of the policy, or that of
    /// the actor's key.
    pub(super) fn end_of_new(
        &self,
        actor: &Actor,
        (owner, environment): (Option<&Owner>, Option<&str>),
        now: SystemTime,
        asked: Option<SystemTime>,
    ) -> Result<Option<SystemTime>, ManageError> {
        let policy = self.0.validity.policy_of(owner, environment);
        let Some(asked) = asked else {
            return end_by_default(policy, now, actor.earlier_end(None));
        };
        if let Some(policy) = policy {
            check_lifetime(policy, now, asked)?;
        }
        if actor.ends_before(Some(asked)) { Err(ManageError::OutlivesActor) } else { Ok(Some(asked)) }
    }

    /// Returns the expiry of the key that replaces this one: the requested one, or the inherited
    /// one, at most the maximum of the policy.
    pub(super) fn end_of_successor(
        &self,
        actor: &Actor,
        old: &KeyRecord,
        now: SystemTime,
        asked: Option<SystemTime>,
    ) -> Result<Option<SystemTime>, ManageError> {
        let scope = (old.owner(), old.environment());
        match actor.earlier_end(old.expires_at()) {
            Some(inherited) if asked.is_none() => {
                let most = self.0.validity.policy_of(scope.0, scope.1).and_then(|policy| policy.most);
                let bound = most.and_then(|most| end_of(now, most));
                Ok(Some(bound.map_or(inherited, |bound| inherited.min(bound))))
            }
            _ => self.end_of_new(actor, scope, now, asked),
        }
    }

    /// Checks the expiry that an edit gives a key.
    pub(super) fn check_edited_end(&self, record: &KeyRecord) -> Result<(), ManageError> {
        let Some(policy) = self.0.validity.policy_of(record.owner(), record.environment()) else { return Ok(()) };
        match (record.created_at(), record.expires_at()) {
            (Some(created), Some(end)) => check_lifetime(policy, created, end),
            (None, Some(_)) => policy.most.map_or(Ok(()), |most| Err(ManageError::LifetimeTooLong(most))),
            (_, None) if policy.required => Err(ManageError::ExpiryRequired),
            (_, None) => policy.most.map_or(Ok(()), |most| Err(ManageError::LifetimeTooLong(most))),
        }
    }
}

/// Returns the expiry of a key for which the caller requests none.
fn end_by_default(
    policy: Option<&ExpiryPolicy>,
    now: SystemTime,
    inherited: Option<SystemTime>,
) -> Result<Option<SystemTime>, ManageError> {
    let Some(policy) = policy else { return Ok(inherited) };
    if policy.required && policy.default.is_none() && inherited.is_none() {
        return Err(ManageError::ExpiryRequired);
    }
    let bound = policy.default.or(policy.most).and_then(|lifetime| end_of(now, lifetime));
    Ok(inherited.into_iter().chain(bound).min())
}

fn check_lifetime(policy: &ExpiryPolicy, created: SystemTime, end: SystemTime) -> Result<(), ManageError> {
    let bound = |lifetime: Option<Duration>| lifetime.and_then(|lifetime| Some((lifetime, end_of(created, lifetime)?)));
    if let Some((most, latest)) = bound(policy.most)
        && end > latest
    {
        return Err(ManageError::LifetimeTooLong(most));
    }
    match policy.least {
        Some(least) if end_of(created, least).is_none_or(|earliest| end < earliest) => {
            Err(ManageError::LifetimeTooShort(least))
        }
        _ => Ok(()),
    }
}

/// Returns a lifetime as a text: in days, if it is a whole number of them.
pub(super) fn in_words(lifetime: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match lifetime.as_secs() {
        seconds if seconds >= DAY && seconds % DAY == 0 && lifetime.subsec_nanos() == 0 => {
            format!("{} days", seconds / DAY)
        }
        _ => format!("{lifetime:?}"),
    }
}
