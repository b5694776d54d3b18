//! `completions`: prints the completions of a shell.

use clap::{Args as ClapArgs, CommandFactory};
use clap_complete::Shell;

use crate::{args::Cli, exit::Failure, output};

/// The shell.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The shell that reads the completions.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tower-api-key", &mut script);
    output::bytes(&script)
}
