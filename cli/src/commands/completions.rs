//! `completions`: prints the completions of a shell.

use clap::{Args as ClapArgs, CommandFactory};
use clap_complete::{Shell, generate};

use crate::{args::Cli, exit::Failure, output};

const NAME: &str = "tower-api-key";

/// The shell.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The shell that reads the completions.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), NAME, &mut script);
    // clap_complete 4.6 writes two forms of a name with hyphens into the script of bash.
    let script = String::from_utf8_lossy(&script).replace("tower__subcmd__api__subcmd__key", "tower__api__key");
    output::bytes(script.as_bytes())
}
