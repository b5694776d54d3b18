//! What a key may do: actions on resources.

use std::{borrow::Cow, collections::BTreeMap, fmt};

/// Something that can be done to a resource: one of four that have names, or one of your own.
///
/// ```
/// use tower_api_key::Action;
///
/// assert_eq!(Action::from("read"), Action::READ);
/// assert_eq!(Action::from("archive").as_str(), "archive");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(Name);

/// The order is the order in which actions are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Name {
    Create,
    Read,
    Update,
    Delete,
    Custom(Cow<'static, str>),
}

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
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    grants: BTreeMap<Box<str>, Vec<Action>>,
    wildcards: bool,
}

// === impl Action ===

impl Action {
    /// `create`
    pub const CREATE: Self = Self(Name::Create);
    /// `read`
    pub const READ: Self = Self(Name::Read);
    /// `update`
    pub const UPDATE: Self = Self(Name::Update);
    /// `delete`
    pub const DELETE: Self = Self(Name::Delete);

    const ANY: Self = Self(Name::Custom(Cow::Borrowed("*")));

    /// The name, as it stands in JSON.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Create => "create",
            Name::Read => "read",
            Name::Update => "update",
            Name::Delete => "delete",
            Name::Custom(name) => name,
        }
    }
}

impl From<Cow<'static, str>> for Action {
    fn from(name: Cow<'static, str>) -> Self {
        Self(match &*name {
            "create" => Name::Create,
            "read" => Name::Read,
            "update" => Name::Update,
            "delete" => Name::Delete,
            _ => Name::Custom(name),
        })
    }
}

impl From<&'static str> for Action {
    fn from(name: &'static str) -> Self {
        Cow::Borrowed(name).into()
    }
}

impl From<&Action> for Action {
    fn from(action: &Action) -> Self {
        action.clone()
    }
}

impl From<String> for Action {
    fn from(name: String) -> Self {
        Cow::<'static, str>::Owned(name).into()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Permissions ===

impl Permissions {
    /// Grants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants `action` on `resource` besides what is granted already.
    #[must_use]
    pub fn grant(mut self, resource: impl Into<String>, action: impl Into<Action>) -> Self {
        self.add(resource.into().into(), action.into());
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
        self.wildcards = true;
        self
    }

    /// Whether `action` on `resource` is granted.
    pub fn allows(&self, resource: &str, action: impl Into<Action>) -> bool {
        self.allow(resource, &action.into())
    }

    pub(crate) fn allow(&self, resource: &str, action: &Action) -> bool {
        let granted =
            |resource: &str, action: &Action| self.grants.get(resource).is_some_and(|actions| actions.contains(action));
        granted(resource, action)
            || (self.wildcards
                && (granted(resource, &Action::ANY) || granted("*", action) || granted("*", &Action::ANY)))
    }

    /// Whether everything that `others` grant is granted here too: a key made under these may hold those.
    ///
    /// ```
    /// use tower_api_key::Permissions;
    ///
    /// let maker = Permissions::new().grant("stats", "read").grant("links", "create");
    /// assert!(maker.cover(&Permissions::new().grant("stats", "read")));
    /// assert!(!maker.cover(&Permissions::new().grant("stats", "delete")));
    /// ```
    pub fn cover(&self, others: &Permissions) -> bool {
        self.first_beyond(others).is_none()
    }

    /// The first grant of `others` that is none of these. Where `*` stands for all names over there, it has to do so here.
    pub(crate) fn first_beyond<'o>(&self, others: &'o Permissions) -> Option<(&'o str, &'o Action)> {
        let says_all = |resource: &str, action: &Action| resource == "*" || *action == Action::ANY;
        let grants = others.iter().flat_map(|(resource, actions)| actions.iter().map(move |action| (resource, action)));
        grants.into_iter().find(|(resource, action)| {
            let means_more = others.wildcards && !self.wildcards && says_all(resource, action);
            means_more || !self.allow(resource, action)
        })
    }

    /// Whether `*` means every name, see [`Permissions::with_wildcards`].
    pub fn has_wildcards(&self) -> bool {
        self.wildcards
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// Every resource with its actions, resources in alphabetical order, actions as create, read, update, delete, then others.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Action])> {
        self.grants.iter().map(|(resource, actions)| (&**resource, actions.as_slice()))
    }

    fn add(&mut self, resource: Box<str>, action: Action) {
        let actions = self.grants.entry(resource).or_default();
        if let Err(place) = actions.binary_search(&action) {
            actions.insert(place, action);
        }
    }
}

/// Resources, each with an action.
impl<R: Into<String>, A: Into<Action>> FromIterator<(R, A)> for Permissions {
    fn from_iter<I: IntoIterator<Item = (R, A)>>(grants: I) -> Self {
        grants.into_iter().fold(Self::new(), |all, (resource, action)| all.grant(resource, action))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wildcards {
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

#[cfg(feature = "serde")]
mod json {
    //! `{"stats": ["read"]}`. Wildcards are a setting of the service, and never come from outside.

    use std::{collections::BTreeSet, fmt};

    use serde::{
        Deserialize, Deserializer, Serialize, Serializer,
        de::{Error, MapAccess, Visitor},
    };

    use super::{Action, Permissions};

    impl Serialize for Action {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl<'de> Deserialize<'de> for Action {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer).map(Self::from)
        }
    }

    impl Serialize for Permissions {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.iter())
        }
    }

    impl<'de> Deserialize<'de> for Permissions {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Grants)
        }
    }

    struct Grants;

    impl<'de> Visitor<'de> for Grants {
        type Value = Permissions;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("resources with lists of actions, as in {\"stats\": [\"read\"]}")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Permissions, M::Error> {
            let mut permissions = Permissions::new();
            let mut listed = BTreeSet::new();
            while let Some((resource, actions)) = map.next_entry::<String, Vec<Action>>()? {
                if !listed.insert(resource.clone()) {
                    return Err(M::Error::custom("a resource is listed twice"));
                }
                for action in actions {
                    permissions.add(resource.as_str().into(), action);
                }
            }
            Ok(permissions)
        }
    }
}
