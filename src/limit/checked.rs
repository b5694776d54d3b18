//! Checks guards and names against all plans.

use super::{limiter::Limiter, plans::Limit};
use crate::error::ConfigError;

impl Limiter {
    /// Checks the charge of a guard against all plans.
    pub(crate) fn check_charge<'g>(
        &self,
        cost: Option<u32>,
        limits: &(impl Iterator<Item = &'g str> + Clone),
    ) -> Result<(), ConfigError> {
        let wrong = |what: String, why: &str| Err(ConfigError::Limit(what, why.to_owned()));
        if let Some(unknown) = limits.clone().find(|name| !self.has_limit_for_routes(name)) {
            let why = "a guard names it, but no plan has a limit of this name for routes: add it to a plan with \
                       `for_routes`, or mend the name";
            return wrong(format!("limit {unknown:?}"), why);
        }
        let cost = cost.unwrap_or(1);
        if cost == 0 {
            return wrong("a guard".to_owned(), "it costs 0, but every request costs at least 1");
        }
        let counts = |limit: &Limit| !limit.is_for_routes || limits.clone().any(|name| *name == *limit.name);
        let too_small = |limit: &Limit| limit.most_cost().filter(|most| (1..u64::from(cost)).contains(most));
        let mut counting = self.all().filter(|(_, limit)| counts(limit));
        match counting.find_map(|(plan, limit)| Some((plan, limit, too_small(limit)?))) {
            Some((plan, limit, most)) => {
                let why = format!(
                    "a guard costs {cost}, but a request passes with {most} at most: lower the cost, or raise the limit"
                );
                wrong(limit.in_plan(plan), &why)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn has_plan(&self, name: &str) -> bool {
        self.plans.contains_key(name)
    }

    pub(crate) fn has_limit(&self, name: &str) -> bool {
        self.all().any(|(_, limit)| *limit.name == *name)
    }

    pub(super) fn has_limit_for_routes(&self, name: &str) -> bool {
        self.all().any(|(_, limit)| limit.is_for_routes && *limit.name == *name)
    }
}
