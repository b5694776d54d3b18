//! `show`: shows one key.

use clap::Args as ClapArgs;
use tower_api_key::{KeyRecord, manage::KeyView};

use crate::{args::Global, exit::Failure, output, session::Session, show};

/// The key to show.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The id of the key.
    id: String,
}

pub(crate) async fn run(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    print(&session.key(&args.id).await?, global)
}

/// Prints one key.
pub(crate) fn print(record: &KeyRecord, global: &Global) -> Result<(), Failure> {
    if global.json { output::json(&KeyView::from(record)) } else { show::key(record) }
}
