//! `edit`: changes a key.

use clap::Args as ClapArgs;
use tower_api_key::{KeyRecord, address::Network, manage::UpdateKey};

use super::{
    new_key::{limit, name_and_text},
    show::print,
};
use crate::{
    args::Global,
    exit::Failure,
    grants::{self, Grant},
    interrupt::Protection,
    session::Session,
    when::{self, Moment},
};

/// The changes. What has no option stays as it is.
#[derive(ClapArgs, Debug)]
#[command(group = clap::ArgGroup::new("changes").required(true).multiple(true).args([
    "name", "grant", "remove_grant", "role", "remove_roles", "expires", "not_before", "allow_from", "allow_any",
    "metadata", "remove_metadata", "plan", "remove_plan", "plan_limit", "remove_plan_limit",
]))]
pub(crate) struct Args {
    /// The id of the key.
    id: String,
    /// The new name.
    #[arg(long)]
    name: Option<String>,
    /// A permission to add, such as links:read,create. Repeat it for more.
    #[arg(long, value_name = "RESOURCE:ACTION", value_parser = grants::parse)]
    grant: Vec<Grant>,
    /// A permission to take away. Repeat it for more.
    #[arg(long, value_name = "RESOURCE:ACTION", value_parser = grants::parse)]
    remove_grant: Vec<Grant>,
    /// A role of the key; the roles that you name replace all roles.
    #[arg(long, value_name = "NAME", conflicts_with = "remove_roles")]
    role: Vec<String>,
    /// Take all roles away.
    #[arg(long)]
    remove_roles: bool,
    /// When the key stops working: 90d, 2027-01-31, 2027-01-31T12:00:00Z or never.
    #[arg(long, value_name = "WHEN", value_parser = when::moment)]
    expires: Option<Moment>,
    /// When the key begins to work, or never to remove it.
    #[arg(long, value_name = "WHEN", value_parser = when::moment)]
    not_before: Option<Moment>,
    /// A network from which the key is accepted; the networks that you name replace all.
    #[arg(long, value_name = "NETWORK", conflicts_with = "allow_any")]
    allow_from: Vec<Network>,
    /// Accept the key from every address.
    #[arg(long)]
    allow_any: bool,
    /// A text to store with the key.
    #[arg(long, value_name = "NAME=TEXT", value_parser = name_and_text)]
    metadata: Vec<(String, String)>,
    /// A text to remove.
    #[arg(long, value_name = "NAME")]
    remove_metadata: Vec<String>,
    /// The plan of the key.
    #[arg(long, value_name = "NAME", conflicts_with = "remove_plan")]
    plan: Option<String>,
    /// Give the key the default plan, or no limits.
    #[arg(long)]
    remove_plan: bool,
    /// A number that replaces that of the plan: NAME=NUMBER, or NAME=unlimited.
    #[arg(long, value_name = "NAME=NUMBER", value_parser = limit)]
    plan_limit: Vec<(String, Option<u64>)>,
    /// A limit that gets the number of the plan again.
    #[arg(long, value_name = "NAME")]
    remove_plan_limit: Vec<String>,
    /// Change the key only if it has this version, which `show` prints.
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

pub(crate) async fn run(args: Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let record = session.key(&args.id).await?;
    let _protection = Protection::new();
    let changed = session.manager.edit(&session.operator.actor(None), args.id.clone(), args.update(&record)).await?;
    print(&changed, global)
}

impl Args {
    fn update(self, record: &KeyRecord) -> UpdateKey {
        let mut update = self.name.into_iter().fold(UpdateKey::new(), UpdateKey::name);
        let mut version = self.if_version;
        if !self.grant.is_empty() || !self.remove_grant.is_empty() {
            let kept = grants::removed(record.permissions().clone(), &self.remove_grant);
            update = update.permissions(grants::added(kept, &self.grant));
            // These replace what was read: a change in between is a conflict.
            version = version.or(Some(record.version()));
        }
        if self.remove_roles || !self.role.is_empty() {
            update = update.roles(self.role);
        }
        update = self.expires.into_iter().fold(update, |update, moment| update.expires_at(moment.time()));
        update = self.not_before.into_iter().fold(update, |update, moment| update.not_before(moment.time()));
        if self.allow_any {
            update = update.allowed_addresses(None);
        } else if !self.allow_from.is_empty() {
            update = update.allowed_addresses(Some(self.allow_from));
        }
        update = self.metadata.into_iter().fold(update, |update, (name, text)| update.metadata(name, text));
        update = self.remove_metadata.into_iter().fold(update, UpdateKey::remove_metadata);
        if self.remove_plan {
            update = update.remove_plan();
        }
        update = self.plan.into_iter().fold(update, UpdateKey::plan);
        update = self.plan_limit.into_iter().fold(update, |update, (name, number)| update.limit(name, number));
        update = self.remove_plan_limit.into_iter().fold(update, UpdateKey::remove_limit);
        version.into_iter().fold(update, UpdateKey::at_version)
    }
}
