//! The permissions of a key: actions on resources.

mod action;
mod grants;
mod instance;
#[cfg(feature = "serde")]
mod json;
mod subsets;

use std::{fmt, hash::Hasher, sync::Arc, vec};

pub use action::Action;
pub(crate) use instance::{is_wildcard, split as split_instance};

use grants::Grants;

/// A set of permissions: for each resource, the granted actions. An empty set grants nothing.
///
/// Names are compared exactly. `*` is an ordinary name unless you call
/// [`Permissions::with_wildcards`]. With the feature `serde`, a set serializes as, and
/// deserializes from, `{"stats": ["read"]}`.
///
/// ```
/// use tower_api_key::Permissions;
///
/// let permissions = Permissions::new().grant("stats", "read").grant("links", "create");
/// assert!(permissions.allows("stats", "read"));
/// assert!(!permissions.allows("stats", "delete"));
/// assert!(!permissions.allows("domains", "read"));
/// ```
///
/// A resource can name one instance: `project:123` is the instance `123` of `project`. Everything
/// after the first colon is the instance. A grant of `project` does not cover `project:123`, and a
/// grant of `project:123` does not cover `project`. To cover every instance, grant `project:*` in a
/// set with wildcards.
///
/// ```
/// use tower_api_key::Permissions;
///
/// let one = Permissions::new().grant("project:123", "read");
/// assert!(one.allows("project:123", "read") && !one.allows("project:124", "read"));
/// let every = Permissions::new().grant("project:*", "read").with_wildcards();
/// assert!(every.allows("project:124", "read") && !every.allows("project", "read"));
/// assert!(every.is_superset(&one));
/// ```
///
/// You can collect a set from pairs of a resource and an action, and iterate over its resources:
///
/// ```
/// use tower_api_key::Permissions;
///
/// let mut permissions: Permissions = [("stats", "read"), ("links", "create")].into_iter().collect();
/// permissions.extend([("links", "read")]);
/// for (resource, actions) in &permissions {
///     println!("{resource}: {} actions", actions.len()); // links: 2 actions, stats: 1 actions
/// }
/// ```
///
/// A clone is cheap: it shares the content through one `Arc`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Permissions(Option<Arc<Grants>>);

// === impl Permissions ===

impl Permissions {
    /// Returns an empty set, which grants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants `create`, `read`, `update` and `delete` on `resource`, and no custom action.
    ///
    /// ```
    /// use tower_api_key::Permissions;
    ///
    /// let links = Permissions::all_of("links").remove("links", "delete");
    /// assert!(links.allows("links", "update") && !links.allows("links", "delete"));
    /// assert!(!links.allows("links", "archive"));
    /// ```
    pub fn all_of(resource: &str) -> Self {
        [Action::CREATE, Action::READ, Action::UPDATE, Action::DELETE]
            .map(|action| (resource, action))
            .into_iter()
            .collect()
    }

    /// Adds a grant of `action` on `resource`.
    #[must_use]
    pub fn grant(mut self, resource: impl Into<String>, action: impl Into<Action>) -> Self {
        self.grants_mut().add(resource.into().into(), action.into());
        self
    }

    /// Removes the grant of `action` on `resource`, if the set has it.
    ///
    /// It removes only this grant. If a wildcard also grants the action, the action stays allowed.
    ///
    /// ```
    /// use tower_api_key::Permissions;
    ///
    /// let permissions = Permissions::new().grant("stats", "read").remove("stats", "read");
    /// assert!(permissions.is_empty());
    /// ```
    #[must_use]
    pub fn remove(mut self, resource: &str, action: impl Into<Action>) -> Self {
        if let Some(grants) = &mut self.0 {
            Arc::make_mut(grants).remove(resource, &action.into());
        }
        Self(self.0.filter(|grants| grants.wildcards || !grants.is_empty()))
    }

    /// Makes `*` mean every resource, or every action, and `project:*` every instance of `project`,
    /// but not `project` itself. Only a whole name or a whole instance is a wildcard: `link*`,
    /// `project:1*` and `*:123` are ordinary names.
    ///
    /// ```
    /// use tower_api_key::Permissions;
    ///
    /// let literal = Permissions::new().grant("*", "read");
    /// assert!(!literal.allows("stats", "read"));
    /// assert!(literal.with_wildcards().allows("stats", "read"));
    /// ```
    #[must_use]
    pub fn with_wildcards(mut self) -> Self {
        self.grants_mut().wildcards = true;
        self
    }

    /// Returns whether `action` on `resource` is granted.
    #[inline]
    pub fn allows(&self, resource: &str, action: impl Into<Action>) -> bool {
        self.allow(resource, &action.into())
    }

    #[inline]
    pub(crate) fn allow(&self, resource: &str, action: &Action) -> bool {
        self.0.as_ref().is_some_and(|grants| grants.allow(resource, action))
    }

    /// Returns whether `action` is granted on an instance of a kind. The kind ends with its colon.
    pub(crate) fn allow_instance(&self, kind: &str, instance: &str, action: &Action) -> bool {
        self.0.as_ref().is_some_and(|grants| grants.allow_instance(kind, instance, action))
    }

    /// Returns whether the set has wildcards, see [`Permissions::with_wildcards`].
    pub fn has_wildcards(&self) -> bool {
        self.0.as_ref().is_some_and(|grants| grants.wildcards)
    }

    /// Returns whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|grants| grants.is_empty())
    }

    /// Returns every resource with its actions. Resources are in alphabetical order; actions are in
    /// the order create, read, update, delete, then custom ones alphabetically.
    ///
    /// ```
    /// use tower_api_key::{Action, Permissions};
    ///
    /// let permissions = Permissions::new().grant("links", "read").grant("links", "create");
    /// let listed: Vec<_> = permissions.iter().collect();
    /// assert_eq!(listed, [("links", &[Action::CREATE, Action::READ][..])]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Action])> {
        self.0.iter().flat_map(|grants| grants.iter())
    }

    /// Returns whether the two sets share one allocation.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.as_ref().map(Arc::as_ptr) == other.0.as_ref().map(Arc::as_ptr)
    }

    /// Returns whether other clones share the allocation of this set.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.as_ref().is_some_and(|grants| Arc::strong_count(grants) > 1)
    }

    pub(crate) fn hash(&self, state: &mut impl Hasher) {
        std::hash::Hash::hash(&self.0, state);
    }

    fn grants_mut(&mut self) -> &mut Grants {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

/// Collects pairs of a resource and an action.
impl<R: Into<String>, A: Into<Action>> FromIterator<(R, A)> for Permissions {
    fn from_iter<I: IntoIterator<Item = (R, A)>>(grants: I) -> Self {
        let grants = grants.into_iter().map(|(resource, action)| (resource.into().into(), action.into()));
        Self(Some(grants.collect::<Grants>()).filter(|grants| !grants.is_empty()).map(Arc::new))
    }
}

/// Adds a grant for each pair of a resource and an action.
impl<R: Into<String>, A: Into<Action>> Extend<(R, A)> for Permissions {
    fn extend<I: IntoIterator<Item = (R, A)>>(&mut self, grants: I) {
        for (resource, action) in grants {
            self.grants_mut().add(resource.into().into(), action.into());
        }
    }
}

/// Yields one pair for each grant. `collect` and `extend` accept these pairs.
impl IntoIterator for Permissions {
    type Item = (String, Action);
    type IntoIter = vec::IntoIter<(String, Action)>;

    fn into_iter(self) -> Self::IntoIter {
        let grants = self
            .iter()
            .flat_map(|(resource, actions)| actions.iter().map(move |action| (resource.to_owned(), action.clone())));
        grants.collect::<Vec<_>>().into_iter()
    }
}

/// Yields each resource with its actions, see [`Permissions::iter`].
impl<'p> IntoIterator for &'p Permissions {
    type Item = (&'p str, &'p [Action]);
    type IntoIter = vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter().collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_wildcards() {
            f.write_str("wildcards ")?;
        }
        f.debug_map()
            .entries(self.iter().map(|(resource, actions)| {
                let names: Vec<&str> = actions.iter().map(Action::as_str).collect();
                (resource, names)
            }))
            .finish()
    }
}
