//! `events`: lists what happened to keys.

use std::time::Duration;

use clap::Args as ClapArgs;
use tower_api_key::{
    Owner,
    manage::{EventFilter, EventView, KeyEvent, KeyEventKind},
};

use crate::{args::Global, exit::Failure, output, session::Session, show};

/// Conditions. An event must meet all of them.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Only events of this key.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Only events of this kind, such as issued or revoked.
    #[arg(long)]
    kind: Option<KeyEventKind>,
    /// Only events of keys of this organization. The default is every organization.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Only events of keys of this environment.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Only events of keys of this user.
    #[arg(long, value_name = "ID", conflicts_with = "follow")]
    user: Option<String>,
    /// The most events to list, newest first. The default is 100; with --follow, 10.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on with new events, the newest last, until the command is interrupted.
    #[arg(long, short)]
    follow: bool,
}

/// The most events that are read at once.
const PAGE: usize = 1_000;
/// How often new events are looked for.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    if args.follow {
        return follow(args, session, global).await;
    }
    let events = newest(args, session, args.limit.unwrap_or(100)).await?;
    if global.json {
        return events.iter().try_for_each(|event| output::json(&EventView::from(event)));
    }
    output::table(&show::EVENT_COLUMNS, events.iter().map(show::event))
}

/// Returns the newest events, newest first.
async fn newest(args: &Args, session: &Session, limit: usize) -> Result<Vec<KeyEvent>, Failure> {
    let (actor, mut filter, mut events) = (session.operator.actor(None), args.filter(), Vec::new());
    while events.len() < limit {
        let page = session.manager.events(&actor, filter.clone().limit(PAGE.min(limit - events.len()))).await?;
        events.extend(page.events);
        let Some(next) = page.next else { break };
        filter = filter.after(next);
    }
    Ok(events)
}

async fn follow(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let Some(mut cursor) = session.manager.newest_event().await? else {
        return Err(Failure::Database("the database keeps no events".to_owned()));
    };
    let mut latest = newest(args, session, args.limit.unwrap_or(10)).await?;
    latest.retain(|event| event.cursor().is_some_and(|own| own <= cursor));
    latest.reverse();
    let filter = args.filter();
    print_following(&latest, global)?;
    loop {
        let events = session.manager.events_since(cursor, PAGE).await?.unwrap_or_default();
        cursor = events.last().and_then(KeyEvent::cursor).unwrap_or(cursor);
        let is_full = events.len() == PAGE;
        let matching: Vec<KeyEvent> = events.into_iter().filter(|event| filter.matches(event)).collect();
        print_following(&matching, global)?;
        if !is_full {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Prints events as they come: in lines, since the widths of columns are not known.
fn print_following(events: &[KeyEvent], global: &Global) -> Result<(), Failure> {
    if global.json {
        return events.iter().try_for_each(|event| output::json(&EventView::from(event)));
    }
    output::lines(events.iter().map(|event| output::plain(&show::event(event).join("  "))))
}

impl Args {
    fn filter(&self) -> EventFilter {
        let filter = self.organization.as_ref().map_or_else(EventFilter::all_organizations, EventFilter::organization);
        let filter = self.environment.iter().fold(filter, EventFilter::environment);
        let filter = self.key.iter().fold(filter, |filter, key| filter.key(key.as_str()));
        let filter = self.user.iter().fold(filter, |filter, user| filter.owner(Owner::User(user.clone())));
        self.kind.iter().fold(filter, |filter, kind| filter.kind(*kind))
    }
}
