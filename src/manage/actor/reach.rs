//! Actors that see the keys of every organization, actors with fewer permissions, and actors of a
//! session that began with a key.

use super::Actor;
use crate::{manage::ManageError, permission::Permissions, record::Owner, store::KeyFilter};

impl Actor {
    /// Lets a trusted actor see and change the keys of every organization: for the operators of a
    /// service, never for its customers. New keys are still issued in the actor's own organization.
    ///
    /// It lists every organization with a filter of
    /// [`KeyFilter::all_organizations`](crate::store::KeyFilter::all_organizations). The other
    /// bounds still apply. An actor with a key has no permissions after this call.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, Owner, Permissions, manage::{Actor, ManageError}, store::KeyFilter};
    ///
    /// # async fn search(manager: &KeyManager) -> Result<(), ManageError> {
    /// let operator = Owner::User("operator".into());
    /// let operator = Actor::trusted(operator, Permissions::new().grant("apiKeys", "read")).across_organizations();
    /// let filter = KeyFilter::all_organizations().name_contains("terraform");
    /// for record in manager.list(&operator, filter).await?.records {
    ///     println!("{:?}: {}", record.organization(), record.id());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn across_organizations(mut self) -> Self {
        self.bounds.contradict |= self.key_id.is_some();
        self.bounds.every_organization = true;
        self.within_bounds()
    }

    /// Returns whether the actor has presented a token of its key, rather than the key.
    pub(in crate::manage) fn presents_token(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.token_ends_at().is_some())
    }

    /// Replaces the permissions of the actor's key by those that its owner has left it.
    pub(in crate::manage) fn holding(self, permissions: Permissions) -> Self {
        Self { permissions, ..self }
    }

    /// Keeps the permissions that an earlier state of the actor has too: its layer may have
    /// narrowed them to what the owner may do.
    pub(in crate::manage) fn holding_at_most(self, earlier: &Self) -> Self {
        let permissions = self.permissions.intersection(&earlier.permissions);
        self.holding(permissions)
    }

    /// Returns the filter with the organizations that the actor sees.
    pub(in crate::manage) fn within_organization(&self, mut filter: KeyFilter) -> Result<KeyFilter, ManageError> {
        let is_across = self.is_across_organizations();
        if filter.all_organizations && !is_across {
            return Err(ManageError::TrustedActorRequired);
        }
        if filter.organization.is_none() || !is_across {
            filter.organization = self.organization().map(str::to_owned);
        }
        Ok(filter)
    }

    /// Returns whether a filter with this organization, environment and owner is outside of the
    /// actor's bounds. Such a list is empty: with the actor's own instead, a change of all keys in
    /// it would change other keys than it names.
    pub(in crate::manage) fn is_outside(
        &self,
        organization: Option<&str>,
        environment: Option<&str>,
        owner: Option<&Owner>,
    ) -> bool {
        let differs = |asked: Option<&str>, own: Option<&str>| asked.is_some_and(|asked| own != Some(asked));
        (!self.is_across_organizations() && differs(organization, self.organization()))
            || (self.environment().is_some() && differs(environment, self.environment()))
            || (self.is_own_keys_only() && owner.is_some_and(|owner| self.owner() != Some(owner)))
    }

    /// Returns whether [`Actor::across_organizations`] was called.
    pub fn is_across_organizations(&self) -> bool {
        self.bounds.every_organization
    }
}

/// Actors of a session that began with a key. They never have more rights than the key.
#[cfg(feature = "dashboard")]
impl Actor {
    /// Keeps the permissions that the key had at the sign-in too: its layer may have narrowed them.
    pub(crate) fn in_session(self, at_sign_in: &Permissions) -> Self {
        let permissions = self.permissions.intersection(at_sign_in);
        self.holding(permissions)
    }

    /// Returns whether the actor's key is accepted from the address of a request's client.
    pub(crate) fn is_accepted_from(&self, address: impl FnOnce() -> Option<std::net::IpAddr>) -> bool {
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
