//! The options that describe a new key.

use std::time::SystemTime;

use clap::Args;
use tower_api_key::{
    Owner,
    address::Network,
    manage::{Actor, NewKey},
};

use crate::{
    grants::{self, Grant},
    operator::Operator,
    when,
};

/// A new key.
#[derive(Args, Debug)]
pub(crate) struct NewKeyArgs {
    /// The name, which people see in lists.
    name: String,
    /// The organization of the key.
    #[arg(long, value_name = "NAME", value_parser = label)]
    organization: Option<String>,
    /// The user who owns the key. Without it, the key is a service account.
    #[arg(long, value_name = "ID", value_parser = label)]
    user: Option<String>,
    /// The environment, which selects the prefix of the key.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// A permission, such as links:read or links:read,create. Repeat it for more.
    #[arg(long, value_name = "RESOURCE:ACTION", value_parser = grants::parse)]
    grant: Vec<Grant>,
    /// Make `*` in the permissions mean every resource, or every action.
    #[arg(long)]
    wildcards: bool,
    /// A role of the key. Repeat it for more.
    #[arg(long, value_name = "NAME")]
    role: Vec<String>,
    /// When the key stops working: 90d, 2027-01-31 or 2027-01-31T12:00:00Z.
    #[arg(long, value_name = "WHEN", value_parser = when::time)]
    expires: Option<SystemTime>,
    /// When the key begins to work.
    #[arg(long, value_name = "WHEN", value_parser = when::time)]
    not_before: Option<SystemTime>,
    /// A network from which the key is accepted, such as 192.0.2.0/24. Repeat it for more.
    #[arg(long, value_name = "NETWORK")]
    allow_from: Vec<Network>,
    /// A text that is stored with the key. Not for secrets: it is shown in lists.
    #[arg(long, value_name = "NAME=TEXT", value_parser = name_and_text)]
    metadata: Vec<(String, String)>,
    /// The plan of the key.
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// A number that replaces that of the plan: NAME=NUMBER, or NAME=unlimited.
    #[arg(long, value_name = "NAME=NUMBER", value_parser = limit)]
    plan_limit: Vec<(String, Option<u64>)>,
    /// The meter of another key, with which this one shares its limits.
    #[arg(long, value_name = "ID")]
    meter: Option<String>,
}

// === impl NewKeyArgs ===

impl NewKeyArgs {
    /// Returns whether the key may do something.
    pub(crate) fn has_permissions(&self) -> bool {
        !self.grant.is_empty() || !self.role.is_empty()
    }

    /// Grants everything that is needed to manage keys.
    pub(crate) fn for_administrator(mut self) -> Self {
        self.grant.extend(grants::parse("apiKeys:create,read,update,delete"));
        self
    }

    /// Returns the key, and the actor who issues it.
    pub(crate) fn read(self, operator: &Operator) -> (Actor, NewKey) {
        let organization = self.organization.as_deref();
        let (actor, new) = match self.user {
            Some(user) => (operator.acting_as(Owner::User(user), organization), NewKey::user(self.name)),
            None => (operator.actor(organization), NewKey::service_account(self.name)),
        };
        let mut new = new.permissions(grants::permissions(&self.grant, self.wildcards)).roles(self.role);
        new = self.environment.into_iter().fold(new, NewKey::environment);
        new = self.expires.into_iter().fold(new, NewKey::expires_at);
        new = self.not_before.into_iter().fold(new, NewKey::not_before);
        if !self.allow_from.is_empty() {
            new = new.allowed_addresses(self.allow_from);
        }
        new = self.metadata.into_iter().fold(new, |new, (name, text)| new.metadata(name, text));
        new = self.plan.into_iter().fold(new, NewKey::plan);
        new = self.plan_limit.into_iter().fold(new, |new, (name, number)| new.limit(name, number));
        (actor, self.meter.into_iter().fold(new, NewKey::meter))
    }
}

/// Parses `NAME=TEXT`.
pub(crate) fn name_and_text(argument: &str) -> Result<(String, String), String> {
    let (name, text) = argument.split_once('=').ok_or("write NAME=TEXT")?;
    Ok((name.to_owned(), text.to_owned()))
}

/// Checks the name of an organization or a user: an unset variable of the shell is no name.
pub(crate) fn label(argument: &str) -> Result<String, &'static str> {
    if argument.is_empty() || argument.trim() != argument || argument.chars().any(char::is_control) {
        return Err("it must not be empty, and has no control characters and no spaces at its ends");
    }
    Ok(argument.to_owned())
}

/// Parses `NAME=NUMBER`, or `NAME=unlimited`.
pub(crate) fn limit(argument: &str) -> Result<(String, Option<u64>), String> {
    let (name, number) = argument.split_once('=').ok_or("write NAME=NUMBER or NAME=unlimited")?;
    let number = match number {
        "unlimited" => None,
        number => Some(number.parse().map_err(|_| "the number of a limit is whole, or unlimited")?),
    };
    Ok((name.to_owned(), number))
}
