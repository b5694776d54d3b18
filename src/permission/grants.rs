//! Grants in alphabetical order, found by a hash of the resource's name.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
};

use super::action::{Action, Actions};

/// A resource's name, hashed once.
#[derive(Clone)]
pub(crate) struct Resource {
    hash: u64,
    name: Box<str>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Grant {
    resource: Resource,
    actions: Actions,
}

/// What a set of permissions shares.
#[derive(Clone, Default)]
pub(super) struct Grants {
    pub(super) wildcards: bool,
    /// In alphabetical order.
    sorted: Vec<Grant>,
    /// Where the grant of a resource is, at the place that its hash says or soon after; at least half are [`FREE`].
    places: Box<[u32]>,
}

const FREE: u32 = u32::MAX;

// === impl Resource ===

impl From<Box<str>> for Resource {
    fn from(name: Box<str>) -> Self {
        Self { hash: hash(&name), name }
    }
}

impl From<String> for Resource {
    fn from(name: String) -> Self {
        name.into_boxed_str().into()
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Resource {}

impl Hash for Resource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

// === impl Grants ===

impl Grants {
    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    #[inline]
    pub(super) fn allow(&self, resource: &Resource, action: &Action) -> bool {
        self.allow_hashed(resource.hash, &resource.name, action)
    }

    pub(super) fn allow_named(&self, resource: &str, action: &Action) -> bool {
        self.allow_hashed(hash(resource), resource, action)
    }

    #[inline]
    fn allow_hashed(&self, hash: u64, resource: &str, action: &Action) -> bool {
        let actions = self.find(hash, resource);
        actions.is_some_and(|actions| actions.contain(action)) || (self.wildcards && self.allow_any(actions, action))
    }

    #[cold]
    #[inline(never)]
    fn allow_any(&self, of_the_resource: Option<&Actions>, action: &Action) -> bool {
        let of_all = self.find(hash("*"), "*");
        of_the_resource.is_some_and(|actions| actions.contain(&Action::ANY))
            || of_all.is_some_and(|actions| actions.contain(action) || actions.contain(&Action::ANY))
    }

    #[inline]
    fn find(&self, hash: u64, resource: &str) -> Option<&Actions> {
        let last = self.places.len().checked_sub(1)?;
        let mut place = low(hash) & last;
        loop {
            // There is no grant at `FREE`.
            let grant = self.sorted.get(self.places[place] as usize)?;
            if grant.resource.hash == hash && *grant.resource.name == *resource {
                return Some(&grant.actions);
            }
            place = (place + 1) & last;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[Action])> {
        self.sorted.iter().map(|grant| (&*grant.resource.name, grant.actions.as_slice()))
    }

    pub(super) fn add(&mut self, resource: Box<str>, action: Action) {
        match self.sorted.binary_search_by(|grant| (*grant.resource.name).cmp(&resource)) {
            Ok(place) => self.sorted[place].actions.add(action),
            Err(place) => {
                let mut actions = Actions::default();
                actions.add(action);
                self.sorted.insert(place, Grant { resource: resource.into(), actions });
                self.find_places();
            }
        }
    }

    fn find_places(&mut self) {
        let last = (2 * self.sorted.len()).next_power_of_two() - 1;
        let mut places = vec![FREE; last + 1];
        for (number, grant) in (0..FREE).zip(&self.sorted) {
            let mut place = low(grant.resource.hash) & last;
            while places[place] != FREE {
                place = (place + 1) & last;
            }
            places[place] = number;
        }
        self.places = places.into();
    }
}

/// Many at once, in whatever order.
impl FromIterator<(Box<str>, Action)> for Grants {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Action)>>(grants: I) -> Self {
        let mut sorted = BTreeMap::<Box<str>, Actions>::new();
        for (resource, action) in grants {
            sorted.entry(resource).or_default().add(action);
        }
        let grants = sorted.into_iter().map(|(resource, actions)| Grant { resource: resource.into(), actions });
        let mut grants = Self { wildcards: false, sorted: grants.collect(), places: Box::default() };
        grants.find_places();
        grants
    }
}

impl PartialEq for Grants {
    fn eq(&self, other: &Self) -> bool {
        self.wildcards == other.wildcards && self.sorted == other.sorted
    }
}

impl Eq for Grants {}

impl Hash for Grants {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wildcards.hash(state);
        self.sorted.hash(state);
    }
}

/// Of a few words, so a loop of multiplications. Names come from those who make keys; whoever makes them collide has a slow key.
#[inline]
fn hash(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    let mix = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        product ^ (product >> 32)
    };
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let last = match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(last), ..) if !rest.is_empty() => u64::from_le_bytes(*last),
        (Some(_), ..) => return hash,
        (None, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    mix(hash, last)
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are asked for")]
fn low(hash: u64) -> usize {
    hash as usize
}
