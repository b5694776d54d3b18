//! `export`: writes keys as JSON lines.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::Args as ClapArgs;
use indicatif::ProgressBar;
use tower_api_key::store::{KeyFilter, KeyOrder};

use crate::{
    args::Global, exit::Failure, input, interrupt, interrupt::Protection, output, progress, session::Session,
    transfer::ExportedKey,
};

/// What is exported.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Only keys of this organization. The default is every organization.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Also the digests, which an import needs. Keep the file as safe as the database.
    #[arg(long)]
    with_digests: bool,
    /// Write to this file, which must not exist, instead of the standard output. Only its owner can
    /// read it.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The most keys that are read at once.
const PAGE: usize = 1_000;

pub(crate) async fn run(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    if args.with_digests {
        input::confirm("Export the digests of keys?", global.yes)?;
    }
    let Some(path) = &args.output else {
        write(args, session, io::stdout().lock()).await?;
        return Ok(());
    };
    let _protection = Protection::new();
    let cannot = |error: io::Error| Failure::Failed(format!("cannot write {}: {error}", path.display()));
    if path.try_exists().map_err(cannot)? {
        return Err(Failure::Usage(format!("{} exists already", path.display())));
    }
    // The file gets its name when it is complete.
    let part = part_of(path);
    let file = private(&part).map_err(cannot)?;
    interrupt::remove_on_exit(part.clone());
    let written = match write(args, session, &file).await {
        Ok(count) => file.sync_all().and_then(|()| fs::rename(&part, path)).map(|()| count).map_err(cannot),
        Err(failure) => Err(failure),
    };
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    output::note(&format!("exported {} keys to {}", written?, path.display()));
    Ok(())
}

/// Writes all keys, oldest first, and returns their number.
async fn write(args: &Args, session: &Session, out: impl Write) -> Result<u64, Failure> {
    let mut out = io::BufWriter::new(out);
    let filter = args.organization.as_ref().map_or_else(KeyFilter::all_organizations, KeyFilter::organization);
    let mut filter = filter.with_revoked().ordered(KeyOrder::Oldest).limit(PAGE);
    let actor = session.operator.actor(None);
    // Not between the keys, on one terminal.
    let is_apart = args.output.is_some() || !io::stdout().is_terminal();
    let bar = if is_apart { progress::bar("exported", None) } else { ProgressBar::hidden() };
    let mut count = 0;
    loop {
        let page = session.manager.list(&actor, filter.clone()).await?;
        for record in &page.records {
            serde_json::to_writer(&mut out, &ExportedKey::new(record, args.with_digests))?;
            out.write_all(b"\n")?;
            count += 1;
        }
        bar.set_position(count);
        if interrupt::is_requested() {
            return Err(Failure::Interrupted("interrupted: nothing was exported".to_owned()));
        }
        let Some(next) = page.next else { break };
        filter = filter.after(next);
    }
    out.flush()?;
    bar.finish_and_clear();
    Ok(count)
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    name.into()
}

/// Creates a file that only its owner may read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
