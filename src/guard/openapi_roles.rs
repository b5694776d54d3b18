//! Names the permissions that guards require, such as `links:create`, for OpenAPI documents.

use http::Method;

use super::{
    Require,
    check::{Check, Shape},
    table::RouteEntry,
};

/// Permissions that a key needs together. Empty if the requirement has no name, such as an
/// organization or a check of the application.
pub(crate) type Roles = Vec<String>;

/// Returns the alternatives that satisfy all of these guards; one is enough. If there is none, no
/// key passes.
pub(crate) fn intersect<'a>(guards: impl IntoIterator<Item = &'a Require>, method: &Method, path: &str) -> Vec<Roles> {
    let mut so_far = vec![Roles::new()];
    for guard in guards {
        let next = guard.roles(method, path);
        let mut both = Vec::new();
        for roles in &so_far {
            both.extend(next.iter().map(|more| dedup(roles.iter().chain(more))));
        }
        so_far = both;
    }
    dedup(&so_far)
}

impl Require {
    /// Returns whether a table lists an operation as open.
    pub(crate) fn is_open(&self, method: &Method, path: &str) -> bool {
        matches!(&*self.check, Check::Table(table) if table.entries(method, path).is_some_and(|entries| entries.are_open()))
    }

    /// Returns the alternatives of this guard for a method and a path. The path may be a template:
    /// a name in braces matches like a segment.
    fn roles(&self, method: &Method, path: &str) -> Vec<Roles> {
        match self.check.shape(method) {
            Shape::Permission { resource, action } => {
                action.into_iter().map(|action| vec![format!("{resource}:{action}")]).collect()
            }
            Shape::Instance(instance) => {
                instance.action(method).into_iter().map(|action| vec![format!("{instance}:{action}")]).collect()
            }
            Shape::Unnamed { .. } => vec![Roles::new()],
            Shape::Any(checks) => checks.iter().flat_map(|check| check.roles(method, path)).collect(),
            Shape::All([]) => Vec::new(),
            Shape::All(checks) => intersect(checks, method, path),
            Shape::Table(table) => match table.entries(method, path) {
                Some(entries) => intersect(entries.iter().filter_map(RouteEntry::guard), method, path),
                None => Vec::new(),
            },
        }
    }
}

/// Removes duplicates and keeps the order.
fn dedup<'a, T: Clone + PartialEq + 'a>(all: impl IntoIterator<Item = &'a T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(one) {
            once.push(one.clone());
        }
    }
    once
}
