//! What limits a key: its plan, numbers of its own, and the meter that counts its requests.

use std::collections::BTreeMap;

use super::{KeyId, KeyRecord};

/// The fields that limits use. Limits are in the feature `limits`, but every store keeps the
/// fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Limiting {
    pub(crate) plan: Option<Box<str>>,
    /// The numbers that replace those of the plan, by the names of its limits. `None` removes a
    /// limit.
    pub(crate) numbers: LimitNumbers,
    /// `None` for a key that counts by its lineage.
    pub(crate) meter: Option<KeyId>,
}

pub(crate) type LimitNumbers = BTreeMap<Box<str>, Option<u64>>;

/// The number of a limit that the key does not have, as JSON and TOML show it.
#[cfg(any(feature = "admin-api", feature = "postgres-no-tls", feature = "sqlite", feature = "static-files"))]
pub(crate) const UNLIMITED: &str = "unlimited";

/// The longest name of a plan or a limit, in characters.
pub(crate) const MAX_LIMIT_NAME: usize = 64;

/// The most numbers of limits that a key can have.
pub(crate) const MAX_LIMITS: usize = 16;

/// The largest number of a limit: every JSON parser reads it exactly.
pub(crate) const MAX_LIMIT_NUMBER: u64 = 1 << 53;

/// Returns whether this is the name of a plan or a limit: 1 to 64 visible ASCII characters.
pub(crate) fn is_limit_name(name: &str) -> bool {
    (1..=MAX_LIMIT_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns what is wrong with numbers of limits: their names, their values, or how many there are.
pub(crate) fn check_limit_numbers(numbers: &LimitNumbers) -> Result<(), &'static str> {
    if !numbers.keys().all(|name| is_limit_name(name)) {
        return Err("the name of a limit must have 1 to 64 visible ASCII characters");
    }
    if numbers.values().flatten().any(|number| *number > MAX_LIMIT_NUMBER) {
        return Err("the number of a limit must be at most 9007199254740992");
    }
    if numbers.len() > MAX_LIMITS { Err("a key can set at most 16 limits") } else { Ok(()) }
}

impl KeyRecord {
    /// Sets the plan of the key, by its name. A key without a plan has the default plan, or no
    /// limits. A layer without [`limits`](crate::layer::ApiKeyLayerBuilder::limits) ignores it.
    #[must_use]
    pub fn with_plan(self, plan: impl Into<String>) -> Self {
        self.edit(|fields| fields.change_terms(|terms| terms.limiting.plan = Some(plan.into().into())))
    }

    /// Replaces the number of one limit of the plan, by its name. With 0 it admits no request; with
    /// `None` the key does not have this limit. A name that the plan lacks has no effect.
    ///
    /// For a rate, the number is that of requests in the plan's period. A burst that the plan sets
    /// stays; otherwise the burst is the new number.
    ///
    /// ```
    /// use tower_api_key::KeyRecord;
    ///
    /// let record = KeyRecord::new("k1", [7; 32]).with_plan("pro").with_limit("daily", 50_000).with_limit("burst", None);
    /// assert_eq!(record.plan(), Some("pro"));
    /// assert_eq!(record.limits().collect::<Vec<_>>(), [("burst", None), ("daily", Some(50_000))]);
    /// ```
    #[must_use]
    pub fn with_limit(self, name: impl Into<String>, number: impl Into<Option<u64>>) -> Self {
        self.edit(|fields| {
            fields.change_terms(|terms| {
                terms.limiting.numbers.insert(name.into().into(), number.into());
            });
        })
    }

    /// Replaces the plan, the numbers of all limits, and the meter.
    #[must_use]
    pub(crate) fn with_limiting(self, limiting: Limiting) -> Self {
        self.edit(|fields| fields.change_terms(|terms| terms.limiting = limiting))
    }

    /// Sets the id that the limits of a single key count by, so keys with the same meter share
    /// them. Pass the [`meter`](Self::meter) of another key. `None` restores the key's lineage.
    #[must_use]
    pub fn with_meter(self, meter: impl Into<Option<KeyId>>) -> Self {
        self.edit(|fields| fields.change_terms(|terms| terms.limiting.meter = meter.into()))
    }

    /// Returns the plan of the key.
    pub fn plan(&self) -> Option<&str> {
        self.limiting()?.plan.as_deref()
    }

    /// Returns the limits whose numbers differ from the plan, with their numbers, by name.
    pub fn limits(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let numbers = self.limiting().map(|limiting| &limiting.numbers);
        numbers.into_iter().flatten().map(|(name, number)| (&**name, *number))
    }

    /// Returns the meter that counts the requests of the key. It is the key's lineage, which the
    /// keys that replace it inherit, unless another one is set.
    pub fn meter(&self) -> &KeyId {
        self.limiting().and_then(|limiting| limiting.meter.as_ref()).unwrap_or_else(|| self.lineage())
    }

    /// Returns the address of the record, which all handles of it share.
    #[cfg(feature = "limits")]
    #[inline]
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref::<super::Fields>(&self.0).addr()
    }

    /// Removes the limits of the record from the cache of a thread, with the record.
    #[cfg(feature = "limits")]
    pub(crate) fn forget_metered(&self) {
        self.0.forget();
    }

    #[cfg(feature = "limits")]
    #[inline]
    pub(crate) fn metered(&self) -> Option<&std::sync::OnceLock<Box<crate::limit::Metered>>> {
        self.0.metered()
    }

    pub(crate) fn limiting(&self) -> Option<&Limiting> {
        self.0.terms().map(|terms| &terms.limiting)
    }
}
