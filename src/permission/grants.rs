//! Grants, sorted by resource and found by binary search.

use std::{collections::BTreeMap, hash::Hash};

use super::action::{Action, Actions};

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
        actions.is_some_and(|actions| actions.contain(action)) || (self.wildcards && self.allow_any(actions, action))
    }

    #[cold]
    #[inline(never)]
    fn allow_any(&self, on_resource: Option<&Actions>, action: &Action) -> bool {
        let on_all = self.actions_on("*");
        on_resource.is_some_and(|actions| actions.contain(&Action::ANY))
            || on_all.is_some_and(|actions| actions.contain(action) || actions.contain(&Action::ANY))
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
