//! Compares and narrows sets of permissions.

use std::sync::Arc;

use super::{Action, Permissions, is_wildcard};

impl Permissions {
    /// Returns whether this set grants everything that `others` grants.
    ///
    /// An actor can give a new key only permissions that the actor's own set grants.
    ///
    /// ```
    /// use tower_api_key::Permissions;
    ///
    /// let maker = Permissions::new().grant("stats", "read").grant("links", "create");
    /// assert!(maker.is_superset(&Permissions::new().grant("stats", "read")));
    /// assert!(!maker.is_superset(&Permissions::new().grant("stats", "delete")));
    /// ```
    pub fn is_superset(&self, others: &Permissions) -> bool {
        self.first_beyond(others).is_none()
    }

    /// Returns the first grant of `others` that this set lacks. If `others` has a wildcard, this
    /// set must have a wildcard that covers it.
    pub(crate) fn first_beyond<'o>(&self, others: &'o Permissions) -> Option<(&'o str, &'o Action)> {
        let grants = others.iter().flat_map(|(resource, actions)| actions.iter().map(move |action| (resource, action)));
        grants.into_iter().find(|(resource, action)| {
            let is_wildcard = is_wildcard(resource) || **action == Action::ANY;
            let grants_more = others.has_wildcards() && !self.has_wildcards() && is_wildcard;
            grants_more || !self.allow(resource, action)
        })
    }

    /// Returns the permissions that both sets grant.
    ///
    /// ```
    /// use tower_api_key::Permissions;
    ///
    /// let key = Permissions::new().grant("links", "read").grant("links", "delete");
    /// let owner = Permissions::new().grant("*", "read").with_wildcards();
    /// assert_eq!(key.intersection(&owner), Permissions::new().grant("links", "read"));
    /// ```
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        if other.is_superset(self) {
            return self.clone();
        }
        if self.is_superset(other) {
            return other.clone();
        }
        let both = match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.intersection(other),
            (None, _) | (_, None) => return Self::new(),
        };
        Self(Some(both).filter(|grants| !grants.is_empty()).map(Arc::new))
    }

    /// Returns the permissions that either set grants.
    ///
    /// If only one of the sets has wildcards, a `*` of the other is left out: it is an ordinary
    /// name there, and would become a wildcard in the result.
    ///
    /// ```
    /// use tower_api_key::Permissions;
    ///
    /// let key = Permissions::new().grant("links", "read");
    /// let role = Permissions::new().grant("stats", "read");
    /// assert_eq!(key.union(&role), Permissions::new().grant("links", "read").grant("stats", "read"));
    /// ```
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (_, None) => self.clone(),
            (None, _) => other.clone(),
            (Some(_), Some(_)) if self.is_superset(other) => self.clone(),
            (Some(_), Some(_)) if other.is_superset(self) => other.clone(),
            (Some(one), Some(other)) => Self(Some(Arc::new(one.union(other)))),
        }
    }

    /// Keeps only what the set grants for the action `read`. In a set with wildcards, the action
    /// `*` becomes `read`.
    ///
    /// Use it for a key that reads everything that its owner reads, and changes nothing.
    ///
    /// ```
    /// use tower_api_key::Permissions;
    ///
    /// let owner = Permissions::all_of("links").grant("stats", "export").grant("project:*", "*").with_wildcards();
    /// let key = owner.clone().read_only();
    /// assert!(key.allows("links", "read") && key.allows("project:123", "read"));
    /// assert!(!key.allows("links", "update") && !key.allows("stats", "export"));
    /// assert!(owner.is_superset(&key));
    /// ```
    #[must_use]
    pub fn read_only(self) -> Self {
        let wildcards = self.has_wildcards();
        let reads = |action: &Action| *action == Action::READ || (wildcards && *action == Action::ANY);
        let readable = self.iter().filter(|(_, actions)| actions.iter().any(reads));
        let reads: Self = readable.map(|(resource, _)| (resource, Action::READ)).collect();
        if wildcards { reads.with_wildcards() } else { reads }
    }
}
