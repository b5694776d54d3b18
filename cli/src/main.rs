//! The command `tower-api-key`: manages the API keys in a database.
//!
//! Each command is one file in `commands/`. It reads its arguments, calls the
//! [`KeyManager`](tower_api_key::KeyManager), and prints the result.

mod args;
mod commands;
mod config;
mod database;
mod exit;
mod grants;
mod input;
mod interrupt;
mod operator;
mod output;
mod progress;
mod serve;
mod session;
mod show;
mod transfer;
mod when;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use exit::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::Failed(format!("cannot start: {error}"))),
    };
    let done = runtime.block_on(async {
        interrupt::watch().map_err(|error| Failure::Failed(format!("cannot handle signals: {error}")))?;
        commands::run(cli).await
    });
    // Without a wait for a blocked read of the standard input.
    runtime.shutdown_background();
    done.map_or_else(|failure| report(&failure), |()| ExitCode::SUCCESS)
}

fn report(failure: &Failure) -> ExitCode {
    if failure.has_message() {
        output::note(&format!("tower-api-key: {}", output::plain(&failure.to_string())));
    }
    failure.exit_code()
}
