//! `import`: imports keys by their texts or their digests.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use tower_api_key::{
    KeyRecord,
    manage::{ImportKey, ManageError},
    store::RegistryError,
};

use super::new_key::label;
use crate::{
    args::Global,
    exit::Failure,
    input, interrupt,
    interrupt::Protection,
    output, progress,
    session::Session,
    transfer::{self, Entry, Secret},
    when,
};

/// The keys to import.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// A file with JSON lines, a JSON array, or an object with the member `keys`; - is the standard
    /// input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The organization of keys that have none.
    #[arg(long, value_name = "NAME", value_parser = label)]
    organization: Option<String>,
    /// Only read the file. Nothing is imported, and the database is not asked.
    #[arg(long)]
    dry_run: bool,
}

/// What came of an import.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The number of keys in the file.
    read: usize,
    imported: usize,
    /// The keys that were stored before.
    stored_before: usize,
    /// The keys that have expired. They are left out.
    expired: usize,
    refused: Vec<Refused>,
}

/// A key that was not imported.
#[derive(Debug, Serialize)]
struct Refused {
    /// The line, or the position in a list.
    number: usize,
    reason: String,
}

/// A key with its line, and where it is imported.
struct Ready {
    number: usize,
    organization: Option<String>,
    secret: Secret,
    id: Option<String>,
    import: ImportKey,
}

/// The number of keys between two looks for a signal.
const BATCH: usize = 20;
/// More keys than these are imported only after a confirmation.
const MANY: usize = 100;
/// The most refused keys that are listed for people.
const LISTED: usize = 20;

pub(crate) async fn run(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let (mut report, ready) = read(args)?;
    if args.dry_run && global.json {
        return output::json(&report);
    }
    if args.dry_run {
        let Report { read, expired, .. } = report;
        return output::lines([format!("{read} keys read, {expired} of them expired; none is imported")]);
    }
    if ready.len() > MANY {
        input::confirm(&format!("Import {} keys?", ready.len()), global.yes)?;
    }
    let _protection = Protection::new();
    let bar = progress::bar("imported", Some(ready.len() as u64));
    let mut left = ready.into_iter().peekable();
    while left.peek().is_some() && !interrupt::is_requested() {
        let batch: Vec<Ready> = left.by_ref().take(BATCH).collect();
        for (ready, done) in import(session, batch).await? {
            bar.inc(1);
            match done {
                Ok(_) => report.imported += 1,
                Err(ManageError::Store(error)) => {
                    report.print(global)?;
                    return Err(ManageError::Store(error).into());
                }
                Err(error) if is_same(session, &ready, &error).await? => report.stored_before += 1,
                Err(error) => report.refused.push(Refused { number: ready.number, reason: error.to_string() }),
            }
        }
    }
    bar.finish_and_clear();
    let has_left = left.peek().is_some();
    report.print(global)?;
    if has_left {
        let why = "interrupted: run the same command again for the other keys";
        return Err(Failure::Interrupted(why.to_owned()));
    }
    match report.refused.len() {
        0 => Ok(()),
        1 => Err(Failure::Refused("1 key was rejected".to_owned())),
        count => Err(Failure::Refused(format!("{count} keys were rejected"))),
    }
}

/// Reads the whole file before anything is imported.
fn read(args: &Args) -> Result<(Report, Vec<Ready>), Failure> {
    let usage = |why: String| Failure::Usage(format!("{}: {why}. Nothing was imported", args.file.display()));
    let input = input::file(&args.file)?;
    let entries = transfer::entries(&input).map_err(usage)?;
    drop(input);
    let now = when::now();
    let mut report = Report { read: entries.len(), ..Report::default() };
    let mut ready = Vec::with_capacity(entries.len());
    for (number, entry) in entries {
        if entry.is_expired(now) {
            report.expired += 1;
            continue;
        }
        let wrong = |why: &str| usage(format!("key {number}: {why}"));
        let Entry { organization, id, .. } = &entry;
        let organization = organization.clone().or_else(|| args.organization.clone());
        if organization.as_deref().is_some_and(|name| label(name).is_err()) {
            return Err(wrong("the organization is empty, or has control characters or spaces at its ends"));
        }
        let (secret, import) = (entry.secret().map_err(wrong)?, entry.to_import().map_err(wrong)?);
        ready.push(Ready { number, organization, secret, id: id.clone(), import });
    }
    Ok((report, ready))
}

/// Imports keys, each in a transaction of its own, in the order of the file.
async fn import(session: &Session, batch: Vec<Ready>) -> Result<Vec<(Ready, Result<KeyRecord, ManageError>)>, Failure> {
    let mut results = Vec::with_capacity(batch.len());
    let mut left = batch.into_iter().peekable();
    while let Some(first) = left.next() {
        let mut group = vec![first];
        while let Some(next) = left.next_if(|next| next.organization == group[0].organization) {
            group.push(next);
        }
        let actor = session.operator.actor(group[0].organization.as_deref());
        let keys = group.iter().map(|ready| ready.import.clone()).collect();
        results.extend(group.into_iter().zip(session.manager.import_many(&actor, keys).await?));
    }
    Ok(results)
}

/// Returns whether the key was refused because the same key is stored under the same id: by an
/// earlier import of the same file.
async fn is_same(session: &Session, ready: &Ready, error: &ManageError) -> Result<bool, Failure> {
    if !matches!(error, ManageError::Registry(RegistryError::DuplicateDigest | RegistryError::DuplicateId(_))) {
        return Ok(false);
    }
    let actor = session.operator.actor(None);
    let stored = match (&ready.secret, &ready.id) {
        (Secret::Text(key), _) => session.manager.find_by_key(&actor, key.expose()).await?,
        (Secret::Digest(digest), Some(id)) => {
            let stored = match session.manager.get(&actor, id.as_str()).await {
                Err(ManageError::NotFound(_)) => None,
                stored => Some(stored?),
            };
            stored.filter(|stored| stored.digest() == digest)
        }
        // Without an id, the digest says which key it is.
        (Secret::Digest(_), None) => return Ok(matches!(error, ManageError::Registry(RegistryError::DuplicateDigest))),
    };
    Ok(stored.is_some_and(|stored| ready.id.as_ref().is_none_or(|id| stored.id().as_str() == id)))
}

// === impl Report ===

impl Report {
    fn print(&self, global: &Global) -> Result<(), Failure> {
        if global.json {
            return output::json(self);
        }
        for Refused { number, reason } in self.refused.iter().take(LISTED) {
            output::note(&output::plain(&format!("key {number}: {reason}")));
        }
        if self.refused.len() > LISTED {
            output::note(&format!("and {} more", self.refused.len() - LISTED));
        }
        let Self { read, imported, stored_before, expired, .. } = self;
        output::lines([format!("{imported} of {read} keys imported; {stored_before} stored before, {expired} expired")])
    }
}
