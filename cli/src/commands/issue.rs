//! `issue`: issues a key, and prints its text.

use clap::Args as ClapArgs;

use super::new_key::NewKeyArgs;
use crate::{args::Global, exit::Failure, interrupt::Protection, output, session::Session};

/// A new key.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    new: NewKeyArgs,
    /// A text of your choice. A repeated command with the same text issues no second key.
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
}

pub(crate) async fn run(args: Args, session: &Session, global: &Global) -> Result<(), Failure> {
    if !args.new.has_permissions() {
        output::note("warning: the key has no permissions: add --grant RESOURCE:ACTION or --role NAME");
    }
    let (actor, new) = args.new.read(&session.operator);
    let actor = args.idempotency_key.into_iter().fold(actor, tower_api_key::manage::Actor::with_idempotency_key);
    let _protection = Protection::new();
    let issued = session.manager.issue(&actor, new).await?;
    output::issued(&issued, global.json)
}
