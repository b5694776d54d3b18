//! `sweep`: disables unused keys, and removes keys that ended long ago.

use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::json;
use tower_api_key::{
    KeyManager,
    manage::{Actor, EventCursor, KeyEvent, KeyEventKind, SweepPolicy, SweepResult},
};

use crate::{
    args::Global, exit::Failure, input, interrupt, interrupt::Protection, output, progress, session::Session, when,
};

/// The rules. Without `--apply`, the command only counts the keys.
#[derive(ClapArgs, Debug)]
#[command(group = clap::ArgGroup::new("rules").required(true).multiple(true).args([
    "disable_unused_for", "remove_ended_for",
]))]
pub(crate) struct Args {
    /// Disable active keys that were not used for this time, such as 90d.
    #[arg(long, value_name = "DURATION", value_parser = when::duration)]
    disable_unused_for: Option<Duration>,
    /// Remove keys that were revoked or have expired for this time, such as 365d.
    #[arg(long, value_name = "DURATION", value_parser = when::duration)]
    remove_ended_for: Option<Duration>,
    /// Only keys of this organization. The default is every organization.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Change the keys.
    #[arg(long)]
    apply: bool,
}

/// How often a signal is looked for.
const STEP: Duration = Duration::from_millis(50);
/// The most events that are read at once.
const PAGE: usize = 1_000;

pub(crate) async fn run(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let policy =
        args.disable_unused_for.iter().fold(SweepPolicy::new(), |policy, time| policy.disable_unused_for(*time));
    let policy = args.remove_ended_for.iter().fold(policy, |policy, time| policy.remove_ended_for(*time));
    let actor = match args.organization.as_deref() {
        // Without the right to see the others.
        Some(organization) => session.operator.confined_to(organization),
        None => session.operator.actor(None),
    };
    let counted = sweep(&session.manager, &actor, policy.dry_run()).await?;
    if !args.apply {
        return report(counted, false, global);
    }
    let SweepResult { disabled, removed, .. } = counted;
    input::confirm(&format!("Disable {disabled} keys and remove {removed} keys?"), global.yes)?;
    let _protection = Protection::new();
    let begin = session.manager.newest_event().await?;
    let done = tokio::select! {
        done = sweep(&session.manager, &actor, policy) => done?,
        () = signal() => {
            // The batch that has begun may still be counted by its events, or not.
            let changed = changed_since(session, begin).await?;
            let why = format!("interrupted: at least {changed} keys are changed. Run the command again for the others");
            return Err(Failure::Interrupted(why));
        }
    };
    report(done, true, global)
}

async fn sweep(manager: &KeyManager, actor: &Actor, policy: SweepPolicy) -> Result<SweepResult, Failure> {
    let bar = progress::bar("reading", None);
    let done = manager.sweep(actor, policy).await;
    bar.finish_and_clear();
    Ok(done?)
}

/// Returns how many keys were disabled or removed after this event.
async fn changed_since(session: &Session, begin: Option<EventCursor>) -> Result<usize, Failure> {
    let (mut cursor, mut changed) = (begin.unwrap_or(EventCursor::START), 0);
    loop {
        let events = session.manager.events_since(cursor, PAGE).await?.unwrap_or_default();
        let is_change = |event: &&KeyEvent| matches!(event.kind(), KeyEventKind::Disabled | KeyEventKind::Removed);
        changed += events.iter().filter(is_change).count();
        match events.last().and_then(KeyEvent::cursor) {
            Some(last) if events.len() == PAGE => cursor = last,
            _ => return Ok(changed),
        }
    }
}

async fn signal() {
    while !interrupt::is_requested() {
        tokio::time::sleep(STEP).await;
    }
}

fn report(result: SweepResult, applied: bool, global: &Global) -> Result<(), Failure> {
    let SweepResult { disabled, removed, .. } = result;
    if global.json {
        return output::json(&json!({ "disabled": disabled, "removed": removed, "applied": applied }));
    }
    output::lines([if applied {
        format!("disabled {disabled} keys, removed {removed} keys")
    } else {
        format!("would disable {disabled} keys and remove {removed} keys: add --apply")
    }])
}
