//! A key that will be revoked, with the times of its revocation and of its last acceptance.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sqlx::PgPool;
use tokio::time::Instant;
use tower_api_key::ApiKey;

pub struct Victim {
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

const REVOKE: &str = "update api_keys set status = 'revoked' where id = $1 and status <> 'revoked'";

// === impl Victim ===

impl Victim {
    pub fn new(id: String, key: &ApiKey) -> Self {
        Self { id, key: key.expose().to_owned(), story: Mutex::default() }
    }

    /// Tries once to revoke it, in a separate transaction.
    pub async fn revoke(&self, database: &PgPool) -> Result<(), sqlx::Error> {
        let mut change = database.begin().await?;
        let changed = sqlx::query(REVOKE).bind(&self.id).execute(&mut *change).await?.rows_affected();
        // If nothing was left to change, an earlier commit succeeded, although its confirmation was
        // lost.
        if changed == 1 {
            self.story.lock().unwrap().sent = Some(Instant::now());
        }
        change.commit().await?;
        self.story.lock().unwrap().done = Some(Instant::now());
        Ok(())
    }

    pub fn commit_was_sent(&self) -> bool {
        self.story.lock().unwrap().sent.is_some()
    }

    pub fn is_revoked(&self) -> bool {
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
        last.saturating_duration_since(self.sent.expect("it was not revoked"))
    }

    fn violations(&self, bound: Duration) -> usize {
        let end = self.done.expect("it was not revoked") + bound;
        self.accepted.iter().filter(|start| **start > end).count()
    }
}

/// Prints the scenario's line and returns how many requests were accepted too late.
pub fn report(scenario: &str, victims: &[Arc<Victim>], bound: Duration) -> usize {
    let stories: Vec<_> = victims.iter().map(|victim| victim.story.lock().unwrap()).collect();
    let mut lags: Vec<_> = stories.iter().map(|story| story.lag()).collect();
    lags.sort();
    let violations = stories.iter().map(|story| story.violations(bound)).sum();
    let at = |percent: usize| milliseconds(lags[(lags.len() * percent).div_ceil(100) - 1]);
    println!(
        "revocation {scenario}: {} revocations, p50 {} ms, p99 {} ms, max {} ms, bound {} ms, violations {violations}",
        lags.len(),
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
