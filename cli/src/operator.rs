//! The operator who runs the command, as an actor of the manager.

use std::env;

use tower_api_key::{KeyRecord, Owner, Permissions, manage::Actor};

use crate::exit::Failure;

/// Who runs the command, and why. The events of all changes have both.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    name: String,
    reason: Option<String>,
}

/// The longest name of an operator, in characters.
const LONGEST_NAME: usize = 100;

// === impl Operator ===

impl Operator {
    /// The operator with this name. The default is the user of the operating system, or `operator`.
    pub(crate) fn new(name: Option<String>) -> Result<Self, Failure> {
        let from_system = || {
            let names = ["SUDO_USER", "USER", "LOGNAME"];
            names.iter().find_map(|name| env::var(name).ok().filter(|name| is_name(name)))
        };
        let name = match name {
            Some(name) if is_name(&name) => name,
            Some(_) => {
                let why =
                    "the name of an operator has 1 to 100 characters, no space at either end, and no control character";
                return Err(Failure::Usage(why.to_owned()));
            }
            None => from_system().unwrap_or_else(|| "operator".to_owned()),
        };
        Ok(Self { name, reason: None })
    }

    /// Sets why the operator makes the change.
    pub(crate) fn because(mut self, reason: Option<String>) -> Self {
        self.reason = reason;
        self
    }

    /// An actor that sees every key, and may grant everything. New keys are in `organization`.
    pub(crate) fn actor(&self, organization: Option<&str>) -> Actor {
        self.acting_as(Owner::ServiceAccount, organization)
    }

    /// An actor whose new keys belong to `owner`. The author of its changes is the operator.
    pub(crate) fn acting_as(&self, owner: Owner, organization: Option<&str>) -> Actor {
        let actor = self.trusted(owner).across_organizations();
        organization.into_iter().fold(actor, Actor::in_organization)
    }

    /// An actor that sees only the keys of this organization.
    pub(crate) fn confined_to(&self, organization: &str) -> Actor {
        self.trusted(Owner::ServiceAccount).in_organization(organization)
    }

    /// An actor that may replace this key: only its owner may.
    pub(crate) fn owner_of(&self, record: &KeyRecord) -> Actor {
        let owner = record.owner().cloned().unwrap_or(Owner::ServiceAccount);
        self.acting_as(owner, record.organization())
    }

    fn trusted(&self, owner: Owner) -> Actor {
        let everything = Permissions::new().grant("*", "*").with_wildcards();
        let actor = Actor::trusted(owner, everything).by_operator(&self.name);
        self.reason.iter().fold(actor, Actor::because)
    }
}

fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=LONGEST_NAME).contains(&length) && name.trim() == name && !name.chars().any(char::is_control)
}
