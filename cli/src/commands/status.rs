//! `disable` and `enable`.

use clap::Args as ClapArgs;

use super::show::print;
use crate::{args::Global, exit::Failure, interrupt::Protection, session::Session};

/// The key to disable or enable.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The id of the key.
    id: String,
}

pub(crate) async fn disable(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let _protection = Protection::new();
    print(&session.manager.disable(&session.operator.actor(None), args.id.as_str()).await?, global)
}

pub(crate) async fn enable(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let _protection = Protection::new();
    print(&session.manager.enable(&session.operator.actor(None), args.id.as_str()).await?, global)
}
