//! The plan, the limits and the meter of a key: who may set them, and which ones a new key gets.

use std::collections::BTreeMap;

use super::{Actor, KeyManager, ManageError, NewKey, UpdateKey, validation::checked_name};
use crate::record::{KeyId, KeyRecord, LimitNumbers, Limiting, check_limit_numbers, is_limit_name};

/// The changes of a plan and of limits. What is not set stays as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct LimitEdits {
    plan: Option<PlanEdit>,
    clears: bool,
    numbers: BTreeMap<Box<str>, NumberEdit>,
}

/// The plan to set. `None` removes it.
#[derive(Clone, Debug)]
struct PlanEdit(Option<Box<str>>);

#[derive(Clone, Copy, Debug)]
enum NumberEdit {
    Set(Option<u64>),
    /// The number is that of the plan again.
    Remove,
}

// === impl NewKey, UpdateKey ===

impl NewKey {
    /// Sets the plan, by its name of 1 to 64 visible ASCII characters. Without one, the key has the
    /// default plan, or no limits.
    ///
    /// A manager with [limits](super::KeyManagerBuilder::limits) rejects a plan that they do not
    /// list, and a number for a limit that none of their plans has. A manager without limits cannot
    /// check them: every request of a key with an unknown plan gets 500.
    ///
    /// Only an operator can set the plan, the limits and the meter: a trusted actor that is the
    /// service itself, or that sees [every organization](super::Actor::across_organizations). A key
    /// that another key issues has the plan, the limits and the meter of that key, so that issuing
    /// keys raises no limit.
    ///
    /// ```
    /// use tower_api_key::manage::NewKey;
    ///
    /// let key = NewKey::service_account("acme").plan("pro").limit("daily", 50_000).limit("burst", None);
    /// ```
    pub fn plan(mut self, plan: impl Into<String>) -> Self {
        self.limiting.plan = Some(plan.into().into());
        self
    }

    /// Replaces the number of one limit of the plan, as [`KeyRecord::with_limit`] does; at most
    /// 2^53. With 0 the limit admits no request; with `None` the key does not have it. A key can
    /// replace at most 16 numbers. See [`NewKey::plan`] for who can set them.
    pub fn limit(mut self, name: impl Into<String>, number: impl Into<Option<u64>>) -> Self {
        self.limiting.numbers.insert(name.into().into(), number.into());
        self
    }

    /// Sets the meter, with which the key shares the limits of another key: the
    /// [meter](KeyRecord::meter) of that key. See [`NewKey::plan`] for who can set it.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, manage::NewKey};
    ///
    /// fn second_key(first: &KeyRecord) -> NewKey {
    ///     NewKey::service_account("second").meter(first.meter().clone())
    /// }
    /// ```
    pub fn meter(mut self, meter: impl Into<KeyId>) -> Self {
        self.limiting.meter = Some(meter.into());
        self
    }
}

impl UpdateKey {
    /// Sets the plan, by its name of 1 to 64 visible ASCII characters. See [`NewKey::plan`] for who
    /// can set it.
    ///
    /// A quota keeps what was used, if the new plan has a quota of the same name, period and
    /// subject. A rate with other numbers begins a new count, with a full burst.
    ///
    /// ```
    /// use tower_api_key::manage::UpdateKey;
    ///
    /// let upgrade = UpdateKey::new().plan("pro").limit("daily", 50_000).remove_limit("burst");
    /// let as_by_default = UpdateKey::new().remove_plan().clear_limits();
    /// ```
    pub fn plan(mut self, plan: impl Into<String>) -> Self {
        self.limits.plan = Some(PlanEdit(Some(plan.into().into())));
        self
    }

    /// Removes the plan: the key then has the default plan, or no limits.
    pub fn remove_plan(mut self) -> Self {
        self.limits.plan = Some(PlanEdit(None));
        self
    }

    /// Replaces the number of one limit of the plan, see [`NewKey::limit`]. The other numbers stay.
    pub fn limit(mut self, name: impl Into<String>, number: impl Into<Option<u64>>) -> Self {
        self.limits.numbers.insert(name.into().into(), NumberEdit::Set(number.into()));
        self
    }

    /// Gives the limit with this name the number of the plan again.
    pub fn remove_limit(mut self, name: impl Into<String>) -> Self {
        self.limits.numbers.insert(name.into().into(), NumberEdit::Remove);
        self
    }

    /// Gives all limits the numbers of the plan again, also those of earlier calls of
    /// [`limit`](Self::limit).
    pub fn clear_limits(mut self) -> Self {
        self.limits.clears = true;
        self.limits.numbers.clear();
        self
    }
}

// === impl Actor ===

impl Actor {
    /// Returns whether the actor may set the plan, the limits and the meter of a key, and add
    /// credits. A signed-in user may be a customer, who must not choose a plan.
    pub(super) fn is_operator(&self) -> bool {
        let is_service = self.is_service() && !self.is_own_keys_only();
        is_service || (self.key_id().is_none() && self.is_across_organizations())
    }
}

// === impl LimitEdits ===

impl LimitEdits {
    pub(super) fn is_empty(&self) -> bool {
        self.plan.is_none() && !self.clears && self.numbers.is_empty()
    }

    /// Returns the record with these changes, if the actor may make them.
    pub(super) fn apply(
        &self,
        manager: &KeyManager,
        actor: &Actor,
        record: KeyRecord,
    ) -> Result<KeyRecord, ManageError> {
        if self.is_empty() {
            return Ok(record);
        }
        if !actor.is_operator() {
            return Err(ManageError::OperatorRequired);
        }
        let mut numbers = if self.clears { LimitNumbers::new() } else { numbers_of(&record) };
        for (name, number) in &self.numbers {
            match number {
                NumberEdit::Set(number) => drop(numbers.insert(name.clone(), *number)),
                NumberEdit::Remove => drop(numbers.remove(name)),
            }
        }
        let plan = match &self.plan {
            Some(PlanEdit(plan)) => plan.clone(),
            None => record.plan().map(Into::into),
        };
        manager.check_limiting(plan.as_deref(), &numbers, Some(&record))?;
        let meter = record.limiting().and_then(|limiting| limiting.meter.clone());
        Ok(record.with_limiting(Limiting { plan, numbers, meter }))
    }
}

/// Returns the plan, the limits and the meter of a new key. If the actor has a key, they are those
/// of that key.
pub(super) fn limiting_of_new(manager: &KeyManager, actor: &Actor, asked: Limiting) -> Result<Limiting, ManageError> {
    if asked != Limiting::default() && !actor.is_operator() {
        return Err(ManageError::OperatorRequired);
    }
    manager.check_limiting(asked.plan.as_deref(), &asked.numbers, None)?;
    if let Some(meter) = &asked.meter {
        checked_name(meter.as_str()).map_err(|_| ManageError::Limits("a meter must be the id of a key"))?;
    }
    Ok(match &actor.record {
        None => asked,
        Some(own) => {
            Limiting { plan: own.plan().map(Into::into), numbers: numbers_of(own), meter: Some(own.meter().clone()) }
        }
    })
}

fn numbers_of(record: &KeyRecord) -> LimitNumbers {
    record.limits().map(|(name, number)| (name.into(), number)).collect()
}

// === impl KeyManager ===

impl KeyManager {
    /// Rejects a plan or numbers that no key may have. If the manager has limits, it also rejects
    /// names that they do not list. Those that the record has already may stay.
    #[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unused_self))]
    fn check_limiting(
        &self,
        plan: Option<&str>,
        numbers: &LimitNumbers,
        before: Option<&KeyRecord>,
    ) -> Result<(), ManageError> {
        let wrong = |why| Err(ManageError::Limits(why));
        if !plan.is_none_or(is_limit_name) {
            return wrong("the name of a plan must have 1 to 64 visible ASCII characters");
        }
        check_limit_numbers(numbers).or_else(wrong)?;
        #[cfg(feature = "limits")]
        if let Some(limits) = &self.0.limits {
            let (known, has) = (limits.limiter(), before.and_then(KeyRecord::limiting));
            if plan.is_some_and(|plan| before.and_then(KeyRecord::plan) != Some(plan) && !known.has_plan(plan)) {
                return wrong("no plan has this name: add it to the plans of the program");
            }
            let stays = |name| has.is_some_and(|has| has.numbers.contains_key(name));
            if numbers.keys().any(|name| !stays(name) && !known.has_limit(name)) {
                return wrong("no plan has a limit of this name");
            }
        }
        Ok(())
    }
}
