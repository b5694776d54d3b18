//! `find`: shows the key with the text on the standard input.

use clap::Args as ClapArgs;
use tower_api_key::KeyRecord;

use super::show::print;
use crate::{args::Global, exit::Failure, input, session::Session};

/// No options of its own: the text of a key is never an argument.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    print(&by_text(session).await?, global)
}

/// Returns the key with the text on the standard input. It does not count as a use of the key.
pub(crate) async fn by_text(session: &Session) -> Result<KeyRecord, Failure> {
    let key = input::key()?;
    let found = session.manager.find_by_key(&session.operator.actor(None), key.expose()).await?;
    found.ok_or_else(|| {
        let why = "there is no key with this text. Has it quotes around it? Is --config that of the service? Its peppers count";
        Failure::NotFound(why.to_owned())
    })
}
