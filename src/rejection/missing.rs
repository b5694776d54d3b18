//! Writes the permissions that a key lacks into the texts of a rejection.

use std::fmt;

use crate::permission::Action;

/// Names a permission that a request needed and its key lacked. It displays as `links:create`.
///
/// ```
/// use tower_api_key::Decision;
///
/// fn missing(decision: &Decision) -> Vec<String> {
///     decision.missing_permissions().iter().map(ToString::to_string).collect()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MissingPermission {
    resource: Box<str>,
    action: Action,
}

/// The permissions that a key lacked, as alternatives. One alternative is enough.
#[derive(Debug)]
pub(crate) struct Missing {
    alternatives: Vec<Vec<MissingPermission>>,
    /// The permissions of all alternatives, without duplicates.
    all: Vec<MissingPermission>,
}

/// The detail for a method and path without a row in a route table.
pub(super) const UNLISTED: &str = "This method and path is in no row of the service's route table.";

/// The maximum length of a detail in bytes. Names of resources may come from a request, so their
/// length is limited.
const MOST: usize = 1024;

impl MissingPermission {
    pub(crate) fn new(resource: impl Into<Box<str>>, action: Action) -> Self {
        Self { resource: resource.into(), action }
    }

    /// Returns the name of the resource: `links`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Returns the action on the resource: `create`.
    pub fn action(&self) -> &Action {
        &self.action
    }
}

impl fmt::Display for MissingPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.resource, self.action)
    }
}

impl Missing {
    /// Returns `None` if there is no permission to name.
    pub(crate) fn new(alternatives: Vec<Vec<MissingPermission>>) -> Option<Self> {
        let mut all: Vec<MissingPermission> = Vec::new();
        for permission in alternatives.iter().flatten() {
            if !all.contains(permission) {
                all.push(permission.clone());
            }
        }
        (!all.is_empty()).then_some(Self { alternatives, all })
    }

    pub(crate) fn permissions(&self) -> &[MissingPermission] {
        &self.all
    }

    /// Returns a sentence for the caller. Returns `None` if a name has a control character, or if
    /// the sentence is too long.
    pub(super) fn detail(&self) -> Option<String> {
        let together = |permissions: &Vec<MissingPermission>| {
            permissions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
        };
        let needed = match &*self.alternatives {
            [one] if one.len() == 1 => format!("It lacks the permission {}.", together(one)),
            [one] => format!("It lacks the permissions {}.", together(one)),
            several => {
                format!("It needs {}.", several.iter().map(together).collect::<Vec<_>>().join(", or "))
            }
        };
        let is_fit = needed.len() <= MOST && !needed.chars().any(char::is_control);
        is_fit.then(|| format!("The API key may not do this. {needed}"))
    }

    /// Returns the `scope` of a Bearer challenge (RFC 6750 §3): the first of the shortest
    /// alternatives, without names that a scope cannot contain.
    pub(super) fn scope(&self) -> Option<String> {
        let shortest = self.alternatives.iter().min_by_key(|permissions| permissions.len())?;
        let is_carried = |name: &String| name.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
        let names: Vec<String> = shortest.iter().map(ToString::to_string).filter(is_carried).collect();
        let scope = names.join(" ");
        (!scope.is_empty() && scope.len() <= MOST).then_some(scope)
    }
}
