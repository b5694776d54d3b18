//! `man`: prints the manual page.

use std::{fs, path::PathBuf};

use clap::{Args as ClapArgs, CommandFactory};
use clap_mangen::Man;

use crate::{args::Cli, exit::Failure, output};

/// Where the pages are written.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Write a page for each command into this folder, instead of the main page to the output.
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(folder) = &args.directory {
        return fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
            .map_err(|error| Failure::Failed(format!("cannot write to {}: {error}", folder.display())));
    }
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page)?;
    output::bytes(&page)
}
