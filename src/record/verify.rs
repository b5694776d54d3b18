//! Vouching for a record. Whoever vouches for a key does it here.

use super::{KeyRecord, Status};
use crate::{
    clock::Clock,
    key::KeyDigest,
    rejection::{Reason, Rejection},
};

/// What a layer asks of a key besides that it is known.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) organization: Option<Box<str>>,
    pub(crate) environments: Option<Vec<Box<str>>>,
    pub(crate) clock: Clock,
}

/// A record whose key was presented and may be used. Only [`KeyRecord::verify`] makes one.
#[derive(Debug)]
pub(crate) struct Verified(KeyRecord);

impl KeyRecord {
    /// Vouches for this record: one of the presented digests is its own, and nothing forbids its use.
    pub(crate) fn verify<'d>(
        self,
        presented: impl IntoIterator<Item = &'d KeyDigest>,
        bounds: &Bounds,
    ) -> Result<Verified, Rejection> {
        match self.examine(presented, bounds) {
            Ok(()) => Ok(Verified(self)),
            Err(Reason::Unknown) => Err(Rejection::new(Reason::Unknown)),
            Err(reason) => Err(Rejection::new(reason).of_record(self)),
        }
    }

    /// Compares the presented digests with this record's, all of them, and looks for an obstacle in any case.
    pub(crate) fn examine<'d>(
        &self,
        presented: impl IntoIterator<Item = &'d KeyDigest>,
        bounds: &Bounds,
    ) -> Result<(), Reason> {
        let is_its_own = presented.into_iter().filter(|digest| **digest == self.0.digest).count() > 0;
        match self.obstacle(bounds) {
            _ if !is_its_own => Err(Reason::Unknown),
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }

    /// What keeps the key from working now, in whatever organization and environment.
    pub(crate) fn obstacle_at(&self, clock: &Clock) -> Option<Reason> {
        self.obstacle(&Bounds { organization: None, environments: None, clock: clock.clone() })
    }

    fn obstacle(&self, bounds: &Bounds) -> Option<Reason> {
        let fields = &*self.0;
        match fields.status {
            Status::Active => {}
            Status::Disabled => return Some(Reason::Disabled),
            Status::Revoked => return Some(Reason::Revoked),
        }
        if fields.is_timed {
            let now = bounds.clock.now();
            if self.expires_at().is_some_and(|end| now >= end) {
                return Some(Reason::Expired);
            }
            if self.not_before().is_some_and(|start| now < start) {
                return Some(Reason::NotYetValid);
            }
        }
        if bounds.organization.is_some() && bounds.organization != fields.organization {
            return Some(Reason::WrongTenant);
        }
        if let Some(served) = &bounds.environments
            && !self.environment().is_some_and(|own| served.iter().any(|served| **served == *own))
        {
            return Some(Reason::WrongEnvironment);
        }
        None
    }

    /// The record that an unknown key is compared with, as a known one is with its own. It never verifies.
    pub(crate) fn dummy() -> Self {
        Self::new("", [0; 32]).with_status(Status::Revoked)
    }
}

impl Verified {
    pub(crate) fn into_record(self) -> KeyRecord {
        self.0
    }
}
