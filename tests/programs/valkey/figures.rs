//! Prints measurements over Valkey.
#![allow(clippy::cast_precision_loss, reason = "it measures")]

use std::time::{Duration, Instant};

use tower_api_key::limit::MeterStore;

use super::{open, rate};
use crate::valkey_server::Valkey;

/// Batches of 100 warm rates out of 10,000, on one connection. The server uses one core.
#[tokio::test]
#[ignore = "needs valkey-server"]
async fn figures_of_leased_subjects() {
    const BATCH: usize = 100;
    let valkey = Valkey::old(&[]);
    let rates = open(&valkey).await;
    let asks = |batch: usize| -> Vec<_> {
        let number = |place| (batch * BATCH + place) % 10_000;
        (0..BATCH).map(|place| rate(&format!("key {:05}", number(place)), 3, 1_000_000, 100_000)).collect()
    };
    for batch in 0..100 {
        rates.take(&asks(batch)).await.unwrap();
    }
    let (start, cpu, mut times) = (Instant::now(), valkey.cpu(), Vec::new());
    while start.elapsed() < Duration::from_secs(5) {
        let asks = asks(times.len());
        let sent = Instant::now();
        rates.take(&asks).await.unwrap();
        times.push(sent.elapsed());
    }
    let (took, cpu) = (start.elapsed().as_secs_f64(), valkey.cpu().saturating_sub(cpu).as_secs_f64());
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let subjects = (times.len() * BATCH) as f64;
    println!(
        "subjects a second: {:.0}, of one core of the server: {:.0}; a batch of {BATCH}: p50 {:.2?} p99 {:.2?} max {:.2?}",
        subjects / took,
        subjects / cpu,
        at(50),
        at(99),
        at(100)
    );
}
