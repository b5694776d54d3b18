//! `bootstrap`: issues the first key of an empty database.

use clap::Args as ClapArgs;

use super::new_key::NewKeyArgs;
use crate::{args::Global, exit::Failure, interrupt::Protection, output, session::Session};

/// The first key. It may manage keys, in addition to the permissions of its options.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    new: NewKeyArgs,
}

/// The session has created the tables when it was opened.
pub(crate) async fn run(args: Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let (actor, new) = args.new.for_administrator().read(&session.operator);
    let _protection = Protection::new();
    match session.manager.bootstrap(&actor, new).await? {
        Some(issued) => output::issued(&issued, global.json),
        None => Err(Failure::Refused("the database has keys already: no first key was issued".to_owned())),
    }
}
