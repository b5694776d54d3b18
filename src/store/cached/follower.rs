//! Follows the changes: moves the epochs on, sends heartbeats, and says when the latest that came back was sent.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::freshness::{Epoch, Freshness};
use crate::{
    clock::{Timeline, monotonic, nanos},
    key::KeyDigest,
    store::{BoxError, ChangeFeed, Invalidation, erased::catch_panic},
};

/// What the follower knows, and requests read.
pub(super) struct FeedState {
    pub(super) lease: Duration,
    /// The lease in nanoseconds.
    term: u64,
    timeline: Timeline,
    freshness: Freshness,
    /// When the newest heartbeat that came back was sent; `None` while nothing is followed.
    proof: watch::Sender<Option<u64>>,
    /// Somebody waits for a heartbeat sent at this instant or later.
    wanted: AtomicU64,
    asked: Notify,
    /// In nanoseconds; 0 before the first.
    lag: AtomicU64,
}

/// Digests are told apart by their first two bytes.
const SLOTS: usize = 1 << 16;

/// Between two heartbeats that somebody waits for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);

/// How long somebody waits for one: then the store is asked instead.
const PROOF_PATIENCE: Duration = Duration::from_millis(500);
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const RECONNECT_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

// === impl Following ===

impl FeedState {
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            lease,
            term: nanos(lease),
            timeline: Timeline::start(),
            freshness: Freshness::new(SLOTS),
            proof: watch::Sender::new(None),
            wanted: AtomicU64::new(0),
            asked: Notify::new(),
            lag: AtomicU64::new(0),
        }
    }

    /// Nanoseconds on the monotonic clock.
    pub(super) fn now(&self) -> u64 {
        self.at(monotonic())
    }

    pub(super) fn at(&self, instant: Instant) -> u64 {
        self.timeline.at(instant)
    }

    /// The instant that lies a lease before `now`.
    pub(super) fn lease_start(&self, now: u64) -> u64 {
        now.saturating_sub(self.term)
    }

    pub(super) fn instant(&self, now: u64) -> Instant {
        self.timeline.instant(now)
    }

    /// Whether every change is known here that was committed by `since`.
    pub(super) fn is_proven(&self, since: u64) -> bool {
        self.freshness.is_proven(since)
    }

    /// Until when what is proven by now counts.
    pub(super) fn proven_until(&self) -> u64 {
        self.freshness.proven_until(self.term)
    }

    /// Whether an answer about this key, of the noted epoch, was still true a lease before `now`.
    pub(super) fn is_fresh(&self, digest: &KeyDigest, noted: Epoch, now: u64) -> bool {
        self.freshness.is_fresh(slot(digest), noted, self.lease_start(now))
    }

    pub(super) fn epoch(&self, digest: &KeyDigest) -> Epoch {
        self.freshness.epoch(slot(digest))
    }

    /// Whether an answer about this key was true at `since` or later, for all that is known. A gap ends what is proven, not what was true before it.
    pub(super) fn was_fresh_at(&self, digest: &KeyDigest, noted: Epoch, asked_at: u64, since: u64) -> bool {
        let slot = slot(digest);
        self.freshness.was_fresh_at(slot, noted, since)
            || (asked_at >= since && self.freshness.is_unchanged(slot, noted))
    }

    /// Whether no change of this key was told since `noted`.
    pub(super) fn is_current(&self, digest: &KeyDigest, noted: Epoch) -> bool {
        self.freshness.is_current(slot(digest), noted)
    }

    pub(super) fn lag(&self) -> Option<Duration> {
        Some(self.lag.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    /// Waits for a heartbeat that is sent at `since` or later to come back. False if none does.
    pub(super) async fn prove_since(&self, since: u64) -> bool {
        let mut proof = self.proof.subscribe();
        self.wanted.fetch_max(since, Ordering::AcqRel);
        self.asked.notify_one();
        let proven = proof.wait_for(|proof| proof.is_none_or(|sent| sent >= since));
        matches!(timeout(self.lease.min(PROOF_PATIENCE), proven).await, Ok(Ok(proof)) if proof.is_some())
    }

    pub(super) fn apply(&self, change: Invalidation) {
        match change {
            Invalidation::Digest(digest) => self.freshness.changed(slot(&digest)),
            Invalidation::DigestPrefix(bytes) => self.freshness.changed(slot_of(bytes)),
            Invalidation::All => self.freshness.changed_all(),
        }
    }

    /// Follows for ever, over every loss of the channel.
    pub(super) async fn follow<C: ChangeFeed>(self: Arc<Self>, mut changes: C) {
        let [shortest, longest] = RECONNECT_PAUSES;
        let mut pause = shortest;
        loop {
            // A channel that panics is lost.
            let Err(error) = catch_panic(self.follow_once(&mut changes))
                .await
                .unwrap_or_else(|_| Err("the channel panicked".into()));
            if self.proof.send_replace(None).is_some() {
                pause = shortest;
            }
            lost(&*error);
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }

    /// Follows until the channel is lost.
    async fn follow_once<C: ChangeFeed>(&self, changes: &mut C) -> Result<Infallible, BoxError> {
        timeout(CONNECT_PATIENCE, boxed(changes.subscribe())).await??;
        let mut sent = self.send_heartbeat(changes, true).await?;
        loop {
            let is_wanted = self.wanted.load(Ordering::Acquire) > sent;
            // The slower the channel, the less it is asked.
            let pause = if is_wanted { SHORTEST_PAUSE.max(self.lag().unwrap_or_default() * 4) } else { self.lease / 4 };
            tokio::select! {
                change = boxed(changes.next()) => self.apply(change?),
                () = sleep_until(self.instant(sent) + pause.min(self.lease / 4)) => sent = self.send_heartbeat(changes, false).await?,
                () = self.asked.notified() => {}
            }
        }
    }

    /// Sends a heartbeat, and says when it was sent once it is back. The first one after a loss finds nothing that can be trusted.
    async fn send_heartbeat<C: ChangeFeed>(&self, changes: &mut C, is_first: bool) -> Result<u64, BoxError> {
        let sent = self.now();
        let told = timeout(self.lease, boxed(changes.heartbeat())).await??;
        if is_first {
            self.apply(Invalidation::All);
        }
        for change in told {
            self.apply(change);
        }
        let lag = self.now() - sent;
        self.lag.store(lag.max(1), Ordering::Relaxed);
        self.freshness.prove(sent);
        self.proof.send_replace(Some(sent));
        proven(Duration::from_nanos(lag));
        Ok(sent)
    }
}

async fn boxed<T, E: Into<BoxError>>(answer: impl Future<Output = Result<T, E>>) -> Result<T, BoxError> {
    answer.await.map_err(Into::into)
}

fn slot(digest: &KeyDigest) -> usize {
    let [first, second, ..] = *digest.as_bytes();
    slot_of([first, second])
}

fn slot_of(bytes: [u8; 2]) -> usize {
    usize::from(u16::from_be_bytes(bytes))
}

#[allow(unused_variables, reason = "without the features nobody is told")]
fn proven(lag: Duration) {
    #[cfg(feature = "metrics")]
    {
        metrics::histogram!("api_key_changes_lag_seconds").record(lag);
        metrics::gauge!("api_key_changes_followed").set(1.0);
    }
}

#[allow(unused_variables, reason = "without the features nobody is told")]
fn lost(error: &(dyn std::error::Error + Send + Sync + 'static)) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("api_key_changes_followed").set(0.0);
    #[cfg(feature = "tracing")]
    tracing::warn!(error, "the changes of keys are not followed: every look-up goes to the store");
}
