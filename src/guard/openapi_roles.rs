//! The permissions that guards ask for, by name: `links:create`. For documents only.

use http::Method;

use super::{
    Require,
    check::{Check, Shape},
    table::RouteEntry,
};

/// The permissions that a key needs together. None, where what is asked for has no name: an
/// organization, a check of one's own.
pub(crate) type Roles = Vec<String>;

/// What a key needs to pass all of these guards: alternatives, one of which is enough. Without an
/// alternative no key passes.
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
    /// Whether a table lists an operation for everybody.
    pub(crate) fn is_open(&self, method: &Method, path: &str) -> bool {
        matches!(&*self.check, Check::Table(table) if table.entries(method, path).is_some_and(|entries| entries.are_open()))
    }

    /// The alternatives of this guard, for a request with this method on a path; or on a template,
    /// whose braces match a segment.
    fn roles(&self, method: &Method, path: &str) -> Vec<Roles> {
        match self.check.shape(method) {
            Shape::Permission { resource, action } => {
                action.into_iter().map(|action| vec![format!("{resource}:{action}")]).collect()
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

/// Each of these once, in order.
fn dedup<'a, T: Clone + PartialEq + 'a>(all: impl IntoIterator<Item = &'a T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(one) {
            once.push(one.clone());
        }
    }
    once
}
