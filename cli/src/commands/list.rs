//! `list`: lists keys.

use std::time::SystemTime;

use clap::{Args as ClapArgs, ValueEnum};
use tower_api_key::{
    Owner, Status,
    manage::KeyView,
    store::{KeyFilter, KeyOrder, OwnerKind},
};

use crate::{args::Global, commands::new_key::name_and_text, exit::Failure, output, session::Session, show, when};

/// Conditions. A key must meet all of them.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Only keys of this organization. The default is every organization.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Only keys of this environment.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Only keys of this user.
    #[arg(long, value_name = "ID", conflicts_with = "service_accounts")]
    user: Option<String>,
    /// Only keys of service accounts.
    #[arg(long)]
    service_accounts: bool,
    /// Only keys with this text in their name.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only keys with this mask, which logs and lists show. Includes revoked keys.
    #[arg(long, value_name = "MASK")]
    mask: Option<String>,
    /// Only keys with this text in their metadata.
    #[arg(long, value_name = "NAME=TEXT", value_parser = name_and_text)]
    metadata: Vec<(String, String)>,
    /// Only keys with this status.
    #[arg(long)]
    status: Option<StatusArg>,
    /// Also revoked keys.
    #[arg(long)]
    include_revoked: bool,
    /// Only keys that expire before this time, such as 7d from now.
    #[arg(long, value_name = "WHEN", value_parser = when::time)]
    expires_before: Option<SystemTime>,
    /// Only keys whose last use was before this time, such as 90d ago. Keys that were never used
    /// have an option of their own.
    #[arg(long, value_name = "WHEN", value_parser = when::past, conflicts_with = "never_used")]
    used_before: Option<SystemTime>,
    /// Only keys that were never used.
    #[arg(long)]
    never_used: bool,
    /// Only keys that were created after this time, such as 1h ago.
    #[arg(long, value_name = "WHEN", value_parser = when::past)]
    created_after: Option<SystemTime>,
    /// The keys that this author issued: `key ID`, `user ID` or `system`.
    #[arg(long, value_name = "AUTHOR")]
    created_by: Option<tower_api_key::Author>,
    /// The order of the list.
    #[arg(long, default_value = "newest")]
    sort: Order,
    /// The most keys to list. The default is 100 in a table, and all with --json.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusArg {
    Active,
    Disabled,
    Revoked,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Newest,
    Oldest,
    Expiry,
    Name,
}

/// The most keys that are read at once.
const PAGE: usize = 1_000;
/// The most keys of a table, by default.
const TABLE: usize = 100;

pub(crate) async fn run(args: Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let mut left = args.limit.unwrap_or(if global.json { usize::MAX } else { TABLE });
    let (actor, mut filter) = (session.operator.actor(None), args.filter());
    let mut listed = Vec::new();
    let mut has_more = false;
    while left > 0 {
        // One more shows whether there are more.
        let page = session.manager.list(&actor, filter.clone().limit(PAGE.min(left.saturating_add(1)))).await?;
        has_more = page.records.len() > left || (page.next.is_some() && page.records.len() == left);
        let records = page.records.into_iter().take(left);
        if global.json {
            for record in records {
                output::json(&KeyView::from(&record))?;
                left -= 1;
            }
        } else {
            let before = listed.len();
            listed.extend(records);
            left -= listed.len() - before;
        }
        let Some(next) = page.next else { break };
        filter = filter.after(next);
    }
    if !global.json {
        show::keys(&listed)?;
    }
    if has_more {
        output::note("there are more keys: see --limit");
    }
    Ok(())
}

impl Args {
    fn filter(self) -> KeyFilter {
        let mut filter = self.organization.map_or_else(KeyFilter::all_organizations, KeyFilter::organization);
        filter = self.environment.into_iter().fold(filter, KeyFilter::environment);
        filter = self.user.into_iter().fold(filter, |filter, user| filter.owner(Owner::User(user)));
        if self.service_accounts {
            filter = filter.owner_kind(OwnerKind::ServiceAccount);
        }
        filter = self.name.into_iter().fold(filter, KeyFilter::name_contains);
        filter = self.mask.into_iter().fold(filter, |filter, mask| filter.mask(mask).with_revoked());
        filter = self.metadata.into_iter().fold(filter, |filter, (name, text)| filter.metadata(name, text));
        if self.include_revoked || matches!(self.status, Some(StatusArg::Revoked)) {
            filter = filter.with_revoked();
        }
        filter = self.status.into_iter().fold(filter, |filter, status| {
            filter.status(match status {
                StatusArg::Active => Status::Active,
                StatusArg::Disabled => Status::Disabled,
                StatusArg::Revoked => Status::Revoked,
            })
        });
        filter = self.expires_before.into_iter().fold(filter, KeyFilter::expires_before);
        filter = self.used_before.into_iter().fold(filter, KeyFilter::used_before);
        if self.never_used {
            filter = filter.never_used();
        }
        filter = self.created_after.into_iter().fold(filter, KeyFilter::created_after);
        filter = self.created_by.into_iter().fold(filter, KeyFilter::created_by);
        filter.ordered(match self.sort {
            Order::Newest => KeyOrder::Newest,
            Order::Oldest => KeyOrder::Oldest,
            Order::Expiry => KeyOrder::Expiry,
            Order::Name => KeyOrder::Name,
        })
    }
}
