//! Goal 8: what the layer costs a whole service, over loopback, beside the same service with a layer that does nothing.
//!
//! ```sh
//! cargo bench --manifest-path bench/Cargo.toml --bench end_to_end    # two minutes
//! ```
//!
//! The server has one core, the load another. All variants listen in one process, and take turns of one second,
//! in another order each round. A ratio is that of two turns of one round. Linux, two cores and `wrk` are needed.

mod cores;
mod latency;
mod load;
mod report;
mod server;
mod variants;

use std::{env, error::Error, process::ExitCode};

use report::Report;
use server::Server;
use variants::Variant;

const ROUNDS: usize = 24;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let done = match arguments.get(1).map(String::as_str) {
        Some(server::SERVE) => server::serve(&arguments[2]),
        _ => measure(),
    };
    if let Err(error) = done {
        eprintln!("end_to_end: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn measure() -> Result<()> {
    load::find_program()?;
    let [for_server, for_load] = cores::two()?;
    cores::pin(for_load)?;
    let mut server = Server::start(for_server)?;
    server.check()?;
    let mut report = Report::default();
    for variant in Variant::ALL {
        server.turn(variant)?; // warms up
    }
    for round in 0..ROUNDS {
        let mut order = Variant::ALL;
        order.rotate_left(round % Variant::ALL.len());
        for variant in order {
            report.add(variant, server.turn(variant)?);
        }
    }
    report.print();
    report.write()
}
