//! Verifies a record. This is the only place that decides whether a key works.

use super::{KeyRecord, Status};
use crate::{
    clock::Clock,
    key::KeyDigest,
    rejection::{Reason, Rejection},
};

/// The requirements of a layer for a known key.
#[derive(Debug)]
pub(crate) struct LayerBounds {
    pub(crate) organization: Option<Box<str>>,
    pub(crate) environments: Option<Vec<Box<str>>>,
    pub(crate) clock: Clock,
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

/// A record of a presented key that works. Only [`KeyRecord::verify`] makes one.
#[derive(Debug)]
pub(crate) struct Verified(KeyRecord);

impl KeyRecord {
    /// Accepts this record if one of the presented digests is its own and nothing blocks its use.
    pub(crate) fn verify<'d>(
        self,
        presented: impl IntoIterator<Item = &'d KeyDigest>,
        bounds: &LayerBounds,
    ) -> Result<Verified, Rejection> {
        match self.examine(presented, bounds) {
            Ok(()) => Ok(Verified(self)),
            Err(Reason::Unknown) => Err(Rejection::new(Reason::Unknown)),
            Err(reason) => Err(Rejection::new(reason).of_record(self)),
        }
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

    fn obstacle(&self, bounds: &LayerBounds) -> Option<Reason> {
        let fields = &*self.0;
        if let Some(obstacle) = self.obstacle_at(&bounds.clock) {
            return Some(obstacle.into());
        }
        if bounds.organization.is_some() && bounds.organization != fields.organization {
            return Some(Reason::WrongOrganization);
        }
        if let Some(served) = &bounds.environments
            && !self.environment().is_some_and(|own| served.iter().any(|served| **served == *own))
        {
            return Some(Reason::WrongEnvironment);
        }
        None
    }

    /// Returns the record that an unknown key is compared with. It is revoked, so it accepts no
    /// key.
    pub(crate) fn dummy() -> Self {
        Self::new("", [0; 32]).with_status(Status::Revoked)
    }
}

impl Verified {
    pub(crate) fn into_record(self) -> KeyRecord {
        self.0
    }
}
