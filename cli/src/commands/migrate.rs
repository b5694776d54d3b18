//! `migrate`: creates the tables, or brings them up to date.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::{args::Global, exit::Failure, output, session::Session};

/// No options of its own.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {}

/// The session has migrated the tables when it was opened.
pub(crate) fn run(_args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let version = session.database.version();
    if global.json {
        return output::json(&json!({ "version": version }));
    }
    output::lines([format!("{}: the tables have version {version}", session.address)])
}
