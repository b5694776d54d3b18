//! The arguments.

use std::{env, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    bootstrap, check, completions, edit, events, export, find, import, issue, list, man, migrate, replace, revoke,
    serve, show, status, sweep,
};

/// Issues, finds, revokes and moves API keys in SQLite and PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "tower-api-key", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The database: `sqlite:PATH` or `postgres://USER@HOST/NAME`.
    ///
    /// Other users of the machine can see arguments: put an address with a password into the
    /// environment variable `DATABASE_URL`, or use a `.pgpass` file.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// The configuration, which says how the service makes and finds keys.
    #[arg(long, global = true, env = "TOWER_API_KEY_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Who you are, for the events of your changes. The default is the user of the system.
    #[arg(long = "as", global = true, value_name = "NAME")]
    pub(crate) operator: Option<String>,
    /// Why you make the change, for its events.
    #[arg(long, global = true, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Print JSON: one object, or one in each line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Do not ask.
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the tables, or bring them up to date.
    Migrate(migrate::Args),
    /// Issue the first key of an empty database.
    Bootstrap(bootstrap::Args),
    /// Issue a key, and print its text.
    Issue(issue::Args),
    /// List keys.
    List(list::Args),
    /// Show one key.
    Show(show::Args),
    /// Show the key with the text on the standard input.
    Find(find::Args),
    /// Change a key.
    Edit(edit::Args),
    /// Replace a key; both work during a grace period.
    Rotate(replace::RotateArgs),
    /// Replace a key at once.
    Regenerate(replace::RegenerateArgs),
    /// Disable a key until it is enabled again.
    Disable(status::Args),
    /// Enable a disabled key.
    Enable(status::Args),
    /// Revoke a key for good, by its id or by its text.
    Revoke(revoke::Args),
    /// Import keys, by their texts or their digests.
    Import(import::Args),
    /// Export keys, for a backup or for `import`.
    Export(export::Args),
    /// Disable unused keys, and remove keys that ended long ago.
    Sweep(sweep::Args),
    /// List what happened to keys.
    Events(events::Args),
    /// Say whether a request with the key on the standard input would be accepted.
    Check(check::Args),
    /// Serve the management API, the dashboard and the answers for gateways.
    Serve(serve::Args),
    /// Print the completions of a shell.
    Completions(completions::Args),
    /// Print the manual page.
    Man(man::Args),
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed for another reason, such as a full disk
  2    wrong arguments, configuration or input; not confirmed. Nothing was changed
  3    there is no such key
  4    rejected: the change is not allowed, a key of an import was rejected, or `check`
       rejects the request
  5    the database cannot be used
  130  interrupted
  141  the reader of the output has closed it";

// === impl Global ===

impl Global {
    /// Returns whether the address of the database is an argument, and not from the environment.
    pub(crate) fn has_database_argument(&self) -> bool {
        self.database.is_some() && env::var("DATABASE_URL").ok() != self.database
    }
}
