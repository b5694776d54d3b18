//! The commands, one file each.

pub(crate) mod bootstrap;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod edit;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod import;
pub(crate) mod issue;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod new_key;
pub(crate) mod replace;
pub(crate) mod revoke;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod sweep;

use crate::{
    args::{Cli, Command, Global},
    exit::Failure,
    session::Session,
};

/// Runs the command of these arguments.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    let session = match &command {
        Command::Completions(args) => return completions::run(args),
        Command::Man(args) => return man::run(args),
        Command::Serve(args) => return serve::run(args, &global).await,
        Command::Migrate(_) | Command::Bootstrap(_) => Session::migrate(&global).await?,
        _ => Session::open(&global).await?,
    };
    let done = on_keys(command, &session, &global).await;
    session.close().await;
    done
}

async fn on_keys(command: Command, session: &Session, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Migrate(args) => migrate::run(&args, session, global),
        Command::Bootstrap(args) => bootstrap::run(args, session, global).await,
        Command::Issue(args) => issue::run(args, session, global).await,
        Command::List(args) => list::run(args, session, global).await,
        Command::Show(args) => show::run(&args, session, global).await,
        Command::Find(args) => find::run(&args, session, global).await,
        Command::Edit(args) => edit::run(args, session, global).await,
        Command::Rotate(args) => replace::rotate(&args, session, global).await,
        Command::Regenerate(args) => replace::regenerate(&args, session, global).await,
        Command::Disable(args) => status::disable(&args, session, global).await,
        Command::Enable(args) => status::enable(&args, session, global).await,
        Command::Revoke(args) => revoke::run(&args, session, global).await,
        Command::Import(args) => import::run(&args, session, global).await,
        Command::Export(args) => export::run(&args, session, global).await,
        Command::Sweep(args) => sweep::run(&args, session, global).await,
        Command::Events(args) => events::run(&args, session, global).await,
        Command::Check(args) => check::run(&args, session, global).await,
        Command::Completions(_) | Command::Man(_) | Command::Serve(_) => Ok(()),
    }
}
