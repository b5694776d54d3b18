//! What a request costs that finds nothing in the caches of the processor, as between the requests of a busy service.
//!
//! ```sh
//! cargo bench --manifest-path bench/Cargo.toml --bench cold             # a minute
//! cargo bench --manifest-path bench/Cargo.toml --bench cold -- count    # the lines; needs valgrind
//! ```
//!
//! Each service of `end_to_end` gets a request over a connection of hyper in memory, in turn. Before the request, data and code are
//! driven out of the caches, or are not. `count` has callgrind count the lines of 64 bytes that a request then reads: of code, and of data.
//! All figures are above those of the service with a layer that does nothing.

#[path = "../shared/callgrind.rs"]
mod callgrind;
mod connection;
mod evict;
#[path = "../end_to_end/variants.rs"]
mod variants;

use std::{env, error::Error, hint::black_box, process::ExitCode, time::Instant};

use axum::body::Body;
use connection::Connection;
use evict::Caches;
use sha2::block_api::compress256;
use tower_api_key::layer::ResponseBody;
use variants::Variant;

const ROUNDS: usize = 4_001;
/// So few that making them, each time by chance, is not seen in a count.
const KEYS: usize = 32;
const WARM: &str = "warm";
const COLD: &str = "cold";
/// The compression of SHA-256, which callgrind counts without the instructions that the processor has for it.
const COMPRESSION: &str = "a compression";
/// A processor with 32 kB for code, 32 kB for data, and 1 MB for both.
const CACHES: [&str; 4] = ["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,8,64"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [callgrind::CALL, call, times] => call_often(call, times),
        ["count"] => count(),
        _ => {
            time();
            Ok(())
        }
    };
    if let Err(error) = done {
        eprintln!("cold: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A connection to each service, and the request.
fn connections() -> ([Connection; Variant::ALL.len()], String) {
    let keys = variants::keys();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\nAuthorization: Bearer {}\r\n\r\n",
        keys[0].expose()
    );
    (Variant::ALL.map(|variant| Connection::new(variant.router(&keys[..KEYS]))), request)
}

// === time ===

fn time() {
    let (mut connections, request) = connections();
    let mut caches = Caches::new();
    let [warm, cold] = [false, true].map(|is_cold| {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let mut nanos = [0.0; Variant::ALL.len()];
            for turn in 0..nanos.len() {
                let place = (round + turn) % nanos.len();
                if is_cold {
                    caches.evict();
                }
                let begin = Instant::now();
                connections[place].send(request.as_bytes());
                nanos[place] = begin.elapsed().as_secs_f64() * 1e9;
                connections[place].check("HTTP/1.1 200");
            }
            rounds.push(nanos);
        }
        rounds
    });
    println!("nanoseconds above {}, median and quartiles of {ROUNDS} rounds", Variant::NoOp.name());
    println!("{:<18} {:>24} {:>24}", "", WARM, COLD);
    for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::NoOp) {
        let [warm, cold] = [&warm, &cold].map(|rounds| {
            let [q1, median, q3] = quartiles(rounds.iter().map(|nanos| nanos[variant as usize] - nanos[0]));
            format!("{median:.0} [{q1:.0} .. {q3:.0}]")
        });
        println!("{:<18} {warm:>24} {cold:>24}", variant.name());
    }
    let [warm, cold] = [&warm, &cold].map(|rounds| quartiles(rounds.iter().map(|nanos| nanos[0]))[1]);
    println!("{:<18} {warm:>24.0} {cold:>24.0}", "no-op, in all");
    println!("\na body has {} bytes, and {} in axum's service", size_of::<ResponseBody<Body>>(), size_of::<Body>());
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[quarter * (values.len() - 1) / 4])
}

// === count ===

fn count() -> Result<()> {
    let cold = |call: &str| callgrind::count(&format!("{COLD}, {call}"), &CACHES);
    let (compression, nothing, no_op) = (cold(COMPRESSION)?, cold("nothing")?, cold(Variant::NoOp.name())?);
    println!("above {}, without a compression of SHA-256", Variant::NoOp.name());
    println!("{:<18} {:>12} {:>12} {:>12}", "", "instructions", "code lines", "data lines");
    for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::NoOp) {
        let counts = cold(variant.name())?;
        let compressions = f64::from(u8::from(variant.hashes()));
        let above = |event: usize| counts[event] - no_op[event] - compressions * (compression[event] - nothing[event]);
        // In the order of callgrind: Ir Dr Dw I1mr D1mr D1mw.
        let [instructions, code, data] = [above(0), above(3), above(4) + above(5)];
        println!("{:<18} {instructions:>12.0} {code:>12.1} {data:>12.1}", variant.name());
    }
    Ok(())
}

fn call_often(call: &str, times: &str) -> Result<()> {
    let (temperature, name) = call.split_once(", ").ok_or("no such call")?;
    let (mut connections, request) = connections();
    let mut caches = Caches::new();
    let place = Variant::ALL.into_iter().position(|variant| variant.name() == name);
    for _ in 0..times.parse()? {
        if temperature == COLD {
            caches.evict();
        }
        match place {
            Some(place) => {
                connections[place].send(request.as_bytes());
                connections[place].check("HTTP/1.1 200");
            }
            None if name == COMPRESSION => compress256(black_box(&mut [0; 8]), black_box(&[[7; 64]])),
            None => {}
        }
    }
    Ok(())
}
