//! What a call costs in instructions, beyond the compressions of SHA-256 that it cannot do without, held to a table.
//!
//! ```sh
//! cargo bench --manifest-path bench/Cargo.toml --bench instructions    # a minute
//! ```
//!
//! Needs `valgrind`, which counts exactly, but has no SHA instructions: there a compression takes thousands. So that many compressions are
//! taken away as the call does.

#[path = "../shared/callgrind.rs"]
mod callgrind;
mod calls;
mod counter;
mod measures;
mod table;

use std::{env, error::Error, process::ExitCode};

use counter::Counter;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let checked = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [callgrind::CALL, name, times] => calls::call(name, times),
        _ => check(),
    };
    if let Err(error) = checked {
        eprintln!("instructions: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn check() -> Result<()> {
    let mut counter = Counter::default();
    let measured = measures::ALL.iter().map(|measure| Ok((measure.name, measure.count(&mut counter)?)));
    table::hold(&measured.collect::<Result<Vec<_>>>()?)
}
