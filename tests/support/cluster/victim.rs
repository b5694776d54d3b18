//! A key that loses something while it is in use, with the times of the change and of its requests.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tower_api_key::ApiKey;

use super::{Database, kind::Kind};

pub struct Victim {
    pub kind: Kind,
    pub id: String,
    pub key: String,
    story: Mutex<Story>,
}

#[derive(Default)]
struct Story {
    /// Just before COMMIT was sent.
    sent: Option<Instant>,
    /// When COMMIT was answered.
    done: Option<Instant>,
    /// When the accepted requests began.
    accepted: Vec<Instant>,
}

// === impl Victim ===

impl Victim {
    pub fn new(kind: Kind, id: String, key: &ApiKey) -> Self {
        Self { kind, id, key: key.expose().to_owned(), story: Mutex::default() }
    }

    /// Tries once to make the change, in a separate transaction.
    pub async fn change(&self, database: &Database) -> Result<(), Box<dyn Error + Send + Sync>> {
        let sending = || self.story.lock().unwrap().sent = Some(Instant::now());
        self.kind.change(&self.id, database, sending).await?;
        self.story.lock().unwrap().done = Some(Instant::now());
        Ok(())
    }

    pub fn commit_was_sent(&self) -> bool {
        self.story.lock().unwrap().sent.is_some()
    }

    pub fn is_changed(&self) -> bool {
        self.story.lock().unwrap().done.is_some()
    }

    pub fn accepted(&self, start: Instant) {
        self.story.lock().unwrap().accepted.push(start);
    }

    pub fn was_accepted(&self) -> bool {
        !self.story.lock().unwrap().accepted.is_empty()
    }
}

// === impl Story ===

impl Story {
    /// The time from the commit to the last accepted request.
    fn lag(&self) -> Duration {
        let last = self.accepted.iter().max().expect("it was never accepted");
        last.saturating_duration_since(self.sent.expect("it was not changed"))
    }

    fn violations(&self, bound: Duration) -> usize {
        let end = self.done.expect("it was not changed") + bound;
        self.accepted.iter().filter(|start| **start > end).count()
    }
}

/// Prints the line of a scenario and a kind. Returns how many requests were accepted too late.
pub fn report(scenario: &str, kind: Kind, victims: &[Arc<Victim>], bound: Duration) -> usize {
    let victims = victims.iter().filter(|victim| victim.kind == kind);
    let stories: Vec<_> = victims.map(|victim| victim.story.lock().unwrap()).collect();
    let mut lags: Vec<_> = stories.iter().map(|story| story.lag()).collect();
    lags.sort();
    let violations = stories.iter().map(|story| story.violations(bound)).sum();
    let at = |percent: usize| milliseconds(lags[(lags.len() * percent).div_ceil(100) - 1]);
    println!(
        "revocation {scenario}: {} {}, p50 {} ms, p99 {} ms, max {} ms, bound {} ms, violations {violations}",
        lags.len(),
        kind.changes(),
        at(50),
        at(99),
        at(100),
        bound.as_millis(),
    );
    violations
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
