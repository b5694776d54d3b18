//! What a key may do: actions on resources.

mod action;
mod grants;
#[cfg(feature = "serde")]
mod json;

use std::{fmt, hash::Hasher, sync::Arc};

pub use action::Action;

use grants::Grants;

/// What a key may do: for each resource, the actions that are granted. An empty set grants nothing.
///
/// Names are compared exactly, and `*` is a name like any other unless [`Permissions::with_wildcards`] is asked for.
/// With the `serde` feature it reads and writes as `{"stats": ["read"]}`.
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
/// It is one `Arc`, so a clone costs one count, and the keys of a store may share a set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Permissions(Option<Arc<Grants>>);

// === impl Permissions ===

impl Permissions {
    /// Grants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants `action` on `resource` besides what is granted already.
    #[must_use]
    pub fn grant(mut self, resource: impl Into<String>, action: impl Into<Action>) -> Self {
        self.grants_mut().add(resource.into().into(), action.into());
        self
    }

    /// Makes `*` mean every resource, or every action: the whole name only, never a part of it.
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

    /// Whether `action` on `resource` is granted.
    #[inline]
    pub fn allows(&self, resource: &str, action: impl Into<Action>) -> bool {
        self.allow(resource, &action.into())
    }

    #[inline]
    pub(crate) fn allow(&self, resource: &str, action: &Action) -> bool {
        self.0.as_ref().is_some_and(|grants| grants.allow(resource, action))
    }

    /// Whether everything that `others` grant is granted here too: a key made under these may hold those.
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

    /// The first grant of `others` that is none of these. Where `*` stands for all names over there, it has to do so here.
    pub(crate) fn first_beyond<'o>(&self, others: &'o Permissions) -> Option<(&'o str, &'o Action)> {
        let says_all = |resource: &str, action: &Action| resource == "*" || *action == Action::ANY;
        let grants = others.iter().flat_map(|(resource, actions)| actions.iter().map(move |action| (resource, action)));
        grants.into_iter().find(|(resource, action)| {
            let means_more = others.has_wildcards() && !self.has_wildcards() && says_all(resource, action);
            means_more || !self.allow(resource, action)
        })
    }

    /// Whether `*` means every name, see [`Permissions::with_wildcards`].
    pub fn has_wildcards(&self) -> bool {
        self.0.as_ref().is_some_and(|grants| grants.wildcards)
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|grants| grants.is_empty())
    }

    /// Every resource with its actions, resources in alphabetical order, actions as create, read, update, delete, then others.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Action])> {
        self.0.iter().flat_map(|grants| grants.iter())
    }

    /// Whether there is no more than one copy of the two.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.as_ref().map(Arc::as_ptr) == other.0.as_ref().map(Arc::as_ptr)
    }

    /// Whether somebody else has this copy too.
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

/// Resources, each with an action.
impl<R: Into<String>, A: Into<Action>> FromIterator<(R, A)> for Permissions {
    fn from_iter<I: IntoIterator<Item = (R, A)>>(grants: I) -> Self {
        let grants = grants.into_iter().map(|(resource, action)| (resource.into().into(), action.into()));
        Self(Some(grants.collect::<Grants>()).filter(|grants| !grants.is_empty()).map(Arc::new))
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
