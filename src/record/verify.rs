//! Verifies a record. This is the only place that decides whether a key works.

use std::{sync::Arc, time::SystemTime};

use super::{ExpiryPolicies, ExpiryPolicy, KeyRecord, Owner, Status};
use crate::{
    address,
    clock::Clock,
    key::KeyDigest,
    rejection::{Reason, Rejection},
};

/// The requirements of a layer for a known key.
#[derive(Clone, Debug)]
pub(crate) struct LayerBounds {
    pub(crate) clock: Clock,
    /// `None` if the layer accepts every key that works.
    pub(crate) restrictions: Option<Box<Restrictions>>,
}

/// The requirements of a layer beyond those in the record of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restrictions {
    pub(crate) organization: Option<Box<str>>,
    pub(crate) environments: Option<Vec<Box<str>>>,
    pub(crate) policies: Option<Arc<ExpiryPolicies>>,
}

/// Decides when a key works: by the clock, its record, and the policies of its manager.
#[derive(Clone, Debug)]
pub(crate) struct Validity {
    clock: Clock,
    policies: Option<Arc<ExpiryPolicies>>,
}

/// The reasons that block a key in every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    Disabled,
    Revoked,
    Expired,
    NotYetValid,
}

impl From<Obstacle> for Reason {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Disabled => Self::Disabled,
            Obstacle::Revoked => Self::Revoked,
            Obstacle::Expired => Self::Expired,
            Obstacle::NotYetValid => Self::NotYetValid,
        }
    }
}

/// A record of a presented key that nothing in the record blocks, before the conditions on its use:
/// its owner, and the address of the client. Only [`KeyRecord::verify`] makes one.
#[derive(Debug)]
pub(crate) struct Matched(KeyRecord);

/// A record of a presented key that works. Only [`Matched`] becomes one.
#[derive(Debug)]
pub(crate) struct Verified(KeyRecord);

impl KeyRecord {
    /// Accepts this record, apart from the conditions on its use, if one of the presented digests
    /// is its own and nothing in the record blocks its use.
    pub(crate) fn verify<'d>(
        self,
        presented: impl IntoIterator<Item = &'d KeyDigest>,
        bounds: &LayerBounds,
    ) -> Result<Matched, Rejection> {
        match self.examine(presented, bounds) {
            Ok(()) => Ok(Matched(self)),
            Err(Reason::Unknown) => Err(Rejection::new(Reason::Unknown)),
            Err(reason) => Err(Rejection::new(reason).of_record(self)),
        }
    }

    /// Returns whether one of the presented digests is its own, and nothing blocks its use in every
    /// layer.
    pub(crate) fn works<'d>(&self, presented: impl IntoIterator<Item = &'d KeyDigest>, clock: &Clock) -> bool {
        let bounds = LayerBounds { clock: clock.clone(), restrictions: None };
        self.examine(presented, &bounds).is_ok()
    }

    /// Compares all presented digests with the digest of this record. Then checks for an obstacle
    /// even if no digest matches, so that an unknown key takes the same steps as a known one.
    pub(crate) fn examine<'d>(
        &self,
        presented: impl IntoIterator<Item = &'d KeyDigest>,
        bounds: &LayerBounds,
    ) -> Result<(), Reason> {
        let is_its_own = presented.into_iter().filter(|digest| **digest == self.0.digest).count() > 0;
        match self.obstacle(bounds) {
            _ if !is_its_own => Err(Reason::Unknown),
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }

    /// Returns the obstacle that blocks the key now, in every organization and environment.
    #[inline]
    pub(crate) fn obstacle_at(&self, clock: &Clock) -> Option<Obstacle> {
        let fields = &*self.0;
        match fields.status {
            Status::Active => {}
            Status::Disabled => return Some(Obstacle::Disabled),
            Status::Revoked => return Some(Obstacle::Revoked),
        }
        if fields.is_timed {
            let now = clock.now();
            if self.expires_at().is_some_and(|end| now >= end) {
                return Some(Obstacle::Expired);
            }
            if self.not_before().is_some_and(|start| now < start) {
                return Some(Obstacle::NotYetValid);
            }
        }
        None
    }

    /// Returns why this layer rejects the key, whatever its owner may do.
    pub(crate) fn obstacle(&self, bounds: &LayerBounds) -> Option<Reason> {
        if let Some(obstacle) = self.obstacle_at(&bounds.clock) {
            return Some(obstacle.into());
        }
        bounds.restrictions.as_deref().and_then(|restrictions| self.restricted(restrictions, &bounds.clock))
    }

    fn restricted(&self, restrictions: &Restrictions, clock: &Clock) -> Option<Reason> {
        let Restrictions { organization, environments, policies } = restrictions;
        if policies.as_ref().is_some_and(|policies| self.outlives(policies, clock)) {
            return Some(Obstacle::Expired.into());
        }
        if organization.is_some() && *organization != self.0.organization {
            return Some(Reason::WrongOrganization);
        }
        if let Some(served) = environments
            && !self.environment().is_some_and(|own| served.iter().any(|served| **served == *own))
        {
            return Some(Reason::WrongEnvironment);
        }
        None
    }

    /// Returns whether the key is older than the policies allow. Without the time of its creation,
    /// a key with a maximum lifetime is.
    fn outlives(&self, policies: &ExpiryPolicies, clock: &Clock) -> bool {
        policies.bound_of(self).is_some_and(|(_, end)| end.is_none_or(|end| clock.now() >= end))
    }

    /// Returns the record that an unknown key is compared with. It is revoked, so it accepts no
    /// key.
    pub(crate) fn dummy() -> Self {
        Self::new("", [0; 32]).with_status(Status::Revoked)
    }
}

impl LayerBounds {
    /// Returns when the key stops working: at the expiry of its record, or sooner by a policy.
    pub(crate) fn end(&self, record: &KeyRecord) -> Option<SystemTime> {
        end_under(self.restrictions.as_ref().and_then(|restrictions| restrictions.policies.as_deref()), record)
    }

    pub(crate) fn restrict(&mut self) -> &mut Restrictions {
        self.restrictions.get_or_insert_default()
    }
}

impl Validity {
    pub(crate) fn new(clock: Clock, policies: ExpiryPolicies) -> Self {
        Self { clock, policies: (!policies.is_empty()).then(|| Arc::new(policies)) }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the policies, for a layer.
    pub(crate) fn policies(&self) -> Option<&Arc<ExpiryPolicies>> {
        self.policies.as_ref()
    }

    /// Returns the policy for a key of this owner and environment.
    pub(crate) fn policy_of(&self, owner: Option<&Owner>, environment: Option<&str>) -> Option<&ExpiryPolicy> {
        self.policies.as_ref()?.of(owner, environment)
    }

    /// Returns the obstacle that blocks the key now.
    pub(crate) fn obstacle(&self, record: &KeyRecord) -> Option<Obstacle> {
        let outlives = || self.policies.as_ref().is_some_and(|policies| record.outlives(policies, &self.clock));
        record.obstacle_at(&self.clock).or_else(|| outlives().then_some(Obstacle::Expired))
    }

    /// Returns when the key stops working: at the expiry of its record, or sooner by the policy.
    pub(crate) fn end(&self, record: &KeyRecord) -> Option<SystemTime> {
        end_under(self.policies.as_deref(), record)
    }
}

/// Returns when a key stops working under these policies.
pub(crate) fn end_under(policies: Option<&ExpiryPolicies>, record: &KeyRecord) -> Option<SystemTime> {
    let bound = policies.and_then(|policies| policies.bound_of(record)).and_then(|(_, end)| end);
    record.expires_at().into_iter().chain(bound).min()
}

impl Matched {
    pub(crate) fn record(&self) -> &KeyRecord {
        &self.0
    }

    /// Narrows the record of the key.
    pub(crate) fn try_narrow<E>(self, narrow: impl FnOnce(KeyRecord) -> Result<KeyRecord, E>) -> Result<Self, E> {
        narrow(self.0).map(Self)
    }

    /// Returns the record of a key whose use has no conditions.
    #[inline]
    pub(crate) fn unconditional(self) -> Result<Verified, Self> {
        if self.0.0.is_conditional { Err(self) } else { Ok(Verified(self.0)) }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.0.is_blocked_by_owner()
    }

    /// Accepts the key unless its owner is blocked, or its list does not have the address of the
    /// client. `client` returns its bits, and is
    /// called for a key with a list.
    pub(crate) fn used_from(self, client: impl FnOnce() -> Option<u128>) -> Result<Verified, Rejection> {
        let is_blocked = self.is_blocked();
        let Self(record) = self;
        if is_blocked {
            return Err(Rejection::new(Reason::OwnerBlocked).of_record(record));
        }
        let list = record.0.terms().and_then(|terms| terms.allowed_addresses.as_ref());
        let Some(list) = list else { return Ok(Verified(record)) };
        let Some(client) = client() else { return Err(Rejection::new(Reason::UnknownAddress).of_record(record)) };
        if list.contains(client) {
            return Ok(Verified(record));
        }
        Err(Rejection::new(Reason::WrongAddress).of_record(record).at_address(address::canonical(client)))
    }
}

impl Verified {
    pub(crate) fn into_record(self) -> KeyRecord {
        self.0
    }
}
