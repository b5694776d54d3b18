//! Actors of a session that began with a key. They never have more rights than the key.

use std::net::IpAddr;

use super::Actor;
use crate::permission::Permissions;

impl Actor {
    /// Keeps the permissions that the key had at the sign-in too: its layer may have narrowed them.
    pub(crate) fn in_session(self, at_sign_in: &Permissions) -> Self {
        let permissions = self.permissions.intersection(at_sign_in);
        self.holding(permissions)
    }

    /// Returns whether the actor's key is accepted from the address of a request's client.
    pub(crate) fn is_accepted_from(&self, address: impl FnOnce() -> Option<IpAddr>) -> bool {
        let networks = self.record.as_ref().and_then(|record| record.allowed_addresses());
        networks.is_none_or(|list| address().is_some_and(|address| list.iter().any(|one| one.contains(address))))
    }

    /// Returns the actor without its key, to find a key by its text, which the manager refuses to
    /// an actor with a key. `None` if the key has no owner.
    pub(crate) fn without_key(&self) -> Option<Self> {
        let mut actor = Self::trusted(self.owner()?.clone(), self.permissions.clone());
        actor.organization.clone_from(&self.organization);
        actor.environment.clone_from(&self.environment);
        actor.bounds = self.bounds.clone();
        actor.details = self.details.clone();
        Some(actor)
    }
}
