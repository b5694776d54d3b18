//! Grants, sorted by resource and found by binary search.

use std::{cmp::Ordering, collections::BTreeMap, hash::Hash};

use super::{
    action::{Action, Actions},
    instance::{covers_kind, is_wildcard, kind_of},
};

#[derive(Clone, PartialEq, Eq, Hash)]
struct Grant {
    resource: Box<str>,
    actions: Actions,
}

/// The content of a set of permissions, shared by its clones.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Grants {
    pub(super) wildcards: bool,
    /// Sorted by resource. Each resource occurs once and has at least one action.
    sorted: Vec<Grant>,
}

impl Grants {
    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    #[inline]
    pub(super) fn allow(&self, resource: &str, action: &Action) -> bool {
        let actions = self.actions_on(resource);
        actions.is_some_and(|actions| actions.contain(action))
            || (self.wildcards && self.allow_any(actions, resource, action))
    }

    /// Returns whether `action` is granted on an instance. The kind ends with its colon, so that
    /// the two parts together are the resource.
    pub(super) fn allow_instance(&self, kind: &str, instance: &str, action: &Action) -> bool {
        let actions = self.actions_on_joined(kind, instance);
        actions.is_some_and(|actions| actions.contain(action))
            || (self.wildcards && self.allow_by_wildcard(actions, || Some(kind), action))
    }

    #[cold]
    #[inline(never)]
    fn allow_any(&self, on_resource: Option<&Actions>, resource: &str, action: &Action) -> bool {
        self.allow_by_wildcard(on_resource, || kind_of(resource), action)
    }

    fn allow_by_wildcard<'r>(
        &self,
        on_resource: Option<&Actions>,
        kind: impl FnOnce() -> Option<&'r str>,
        action: &Action,
    ) -> bool {
        let contain = |actions: &Actions| actions.contain(action) || actions.contain(&Action::ANY);
        on_resource.is_some_and(|actions| actions.contain(&Action::ANY))
            || self.actions_on("*").is_some_and(contain)
            || kind().and_then(|kind| self.actions_on_joined(kind, "*")).is_some_and(contain)
    }

    fn actions_on_joined(&self, kind: &str, instance: &str) -> Option<&Actions> {
        let order = |grant: &Grant| cmp_joined(grant.resource.as_bytes(), kind.as_bytes(), instance.as_bytes());
        let index = self.sorted.binary_search_by(order).ok()?;
        Some(&self.sorted[index].actions)
    }

    #[inline]
    fn actions_on(&self, resource: &str) -> Option<&Actions> {
        let index = self.index_of(resource).ok()?;
        Some(&self.sorted[index].actions)
    }

    #[inline]
    fn index_of(&self, resource: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|grant| (*grant.resource).cmp(resource))
    }

    /// Returns the grants that both sets cover. Without wildcards in both, `*` is an ordinary name
    /// in the result: a name that only one set reads as a wildcard must not become one.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (one, other) in [(self, other), (other, self)] {
            for (resource, action) in one.pairs().filter(|(resource, action)| !one.is_wild(resource, action)) {
                if other.allow(resource, action) {
                    both.add(resource.into(), action.clone());
                }
            }
        }
        if self.wildcards && other.wildcards {
            both.wildcards = true;
            for (one, one_action) in self.pairs().filter(|(resource, action)| self.is_wild(resource, action)) {
                for (two, two_action) in other.pairs().filter(|(resource, action)| other.is_wild(resource, action)) {
                    if let (Some(resource), Some(action)) =
                        (meet_resources(one, two), meet_actions(one_action.as_str(), two_action.as_str()))
                    {
                        both.add(resource.into(), Action::from(action));
                    }
                }
            }
        }
        both
    }

    /// Returns the grants of either set. A name that only one set reads as a wildcard must not
    /// become one: if only one has wildcards, such grants of the other are left out.
    pub(super) fn union(&self, other: &Self) -> Self {
        let wildcards = self.wildcards || other.wildcards;
        let mut either = Self { wildcards, ..Self::default() };
        for set in [self, other] {
            let is_read_alike = |resource: &str, action: &Action| {
                set.wildcards == wildcards || !(is_wildcard(resource) || *action == Action::ANY)
            };
            for (resource, action) in set.pairs().filter(|(resource, action)| is_read_alike(resource, action)) {
                either.add(resource.into(), action.clone());
            }
        }
        either
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &Action)> {
        self.iter().flat_map(|(resource, actions)| actions.iter().map(move |action| (resource, action)))
    }

    /// Returns whether a grant of this set covers more than its own names.
    fn is_wild(&self, resource: &str, action: &Action) -> bool {
        self.wildcards && (is_wildcard(resource) || *action == Action::ANY)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[Action])> {
        self.sorted.iter().map(|grant| (&*grant.resource, grant.actions.as_slice()))
    }

    pub(super) fn add(&mut self, resource: Box<str>, action: Action) {
        match self.index_of(&resource) {
            Ok(index) => self.sorted[index].actions.add(action),
            Err(index) => {
                let mut actions = Actions::default();
                actions.add(action);
                self.sorted.insert(index, Grant { resource, actions });
            }
        }
    }

    pub(super) fn remove(&mut self, resource: &str, action: &Action) {
        let Ok(index) = self.index_of(resource) else { return };
        let actions = &mut self.sorted[index].actions;
        actions.remove(action);
        if actions.is_empty() {
            self.sorted.remove(index);
        }
    }
}

/// Returns the resource that two resources of sets with wildcards have in common.
fn meet_resources<'n>(one: &'n str, other: &'n str) -> Option<&'n str> {
    let is_within = |narrow: &str, wide: &str| wide == "*" || covers_kind(wide, narrow) || narrow == wide;
    if is_within(one, other) {
        Some(one)
    } else if is_within(other, one) {
        Some(other)
    } else {
        None
    }
}

/// Returns the name that two actions of sets with wildcards have in common.
fn meet_actions<'n>(one: &'n str, other: &'n str) -> Option<&'n str> {
    match (one, other) {
        ("*", name) | (name, "*") => Some(name),
        (one, other) => (one == other).then_some(one),
    }
}

/// Compares a name with two parts as if these were one text.
fn cmp_joined(name: &[u8], first: &[u8], second: &[u8]) -> Ordering {
    match name.split_at_checked(first.len()) {
        Some((start, rest)) => start.cmp(first).then_with(|| rest.cmp(second)),
        None => name.cmp(first),
    }
}

/// Sorts once, so that a long list in any order is cheap.
impl FromIterator<(Box<str>, Action)> for Grants {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Action)>>(grants: I) -> Self {
        let mut sorted = BTreeMap::<Box<str>, Actions>::new();
        for (resource, action) in grants {
            sorted.entry(resource).or_default().add(action);
        }
        let sorted = sorted.into_iter().map(|(resource, actions)| Grant { resource, actions }).collect();
        Self { wildcards: false, sorted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_are_in_the_order_of_the_whole_text() {
        let names = ["", "a", "a:", "a:*", "a:1", "a:10", "a:2", "a;", "ab", "ab:1", "b", "\u{e4}:1"];
        for name in names {
            for first in names {
                for second in names {
                    let whole = [first, second].concat();
                    let order = cmp_joined(name.as_bytes(), first.as_bytes(), second.as_bytes());
                    assert_eq!(order, name.cmp(&whole), "{name} and {whole}");
                }
            }
        }
    }
}
