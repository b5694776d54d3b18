//! `serve`: the management API, the dashboard and the answers for gateways, until a signal.

use clap::Args as ClapArgs;

use crate::{args::Global, exit::Failure, serve};

/// What to serve.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Serve a demo: the tables are created, and a first key is printed. Without --database the
    /// keys end with the process.
    #[arg(long)]
    demo: bool,
}

pub(crate) async fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    if args.demo { serve::serve_demo(global).await } else { serve::serve(global).await }
}
