//! `revoke`: revokes a key for good.

use clap::Args as ClapArgs;
use tower_api_key::Status;

use super::{find, show::print};
use crate::{args::Global, exit::Failure, input, interrupt::Protection, output, session::Session, show};

/// The key to revoke: by its id, or by its text.
#[derive(ClapArgs, Debug)]
#[command(override_usage = "tower-api-key revoke [OPTIONS] <ID>\n       tower-api-key revoke [OPTIONS] --stdin")]
pub(crate) struct Args {
    /// The id of the key.
    #[arg(conflicts_with = "stdin")]
    id: Option<String>,
    /// Revoke the key with the text on the standard input.
    #[arg(long)]
    stdin: bool,
}

pub(crate) async fn run(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let record = match &args.id {
        Some(id) => session.key(id).await?,
        None if args.stdin => find::by_text(session).await?,
        None => {
            let why = "give the id of the key, or --stdin and its text on the standard input";
            return Err(Failure::Usage(why.to_owned()));
        }
    };
    if record.status() == Status::Revoked {
        output::note(&format!("{} was revoked before", show::summary(&record)));
        return print(&record, global);
    }
    input::confirm(&format!("Revoke {} for good?", show::summary(&record)), global.yes)?;
    let _protection = Protection::new();
    let revoked = session.manager.revoke(&session.operator.actor(None), record.id().clone()).await?;
    output::note(&format!("revoked {}", show::summary(&revoked)));
    if let Some(successor) = revoked.replaced_by() {
        output::note(&format!("warning: {successor} has replaced this key and still works, unless it was revoked too"));
    }
    print(&revoked, global)
}
