//! Grants in alphabetical order of their resources, found by binary search.

use std::{collections::BTreeMap, hash::Hash};

use super::action::{Action, Actions};

#[derive(Clone, PartialEq, Eq, Hash)]
struct Grant {
    resource: Box<str>,
    actions: Actions,
}

/// What a set of permissions shares.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Grants {
    pub(super) wildcards: bool,
    /// In alphabetical order.
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
    fn allow_any(&self, of_the_resource: Option<&Actions>, action: &Action) -> bool {
        let of_all = self.actions_on("*");
        of_the_resource.is_some_and(|actions| actions.contain(&Action::ANY))
            || of_all.is_some_and(|actions| actions.contain(action) || actions.contain(&Action::ANY))
    }

    #[inline]
    fn actions_on(&self, resource: &str) -> Option<&Actions> {
        let place = self.place_of(resource).ok()?;
        Some(&self.sorted[place].actions)
    }

    #[inline]
    fn place_of(&self, resource: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|grant| (*grant.resource).cmp(resource))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[Action])> {
        self.sorted.iter().map(|grant| (&*grant.resource, grant.actions.as_slice()))
    }

    pub(super) fn add(&mut self, resource: Box<str>, action: Action) {
        match self.place_of(&resource) {
            Ok(place) => self.sorted[place].actions.add(action),
            Err(place) => {
                let mut actions = Actions::default();
                actions.add(action);
                self.sorted.insert(place, Grant { resource, actions });
            }
        }
    }
}

/// Many at once, in any order.
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
