//! Follows the change feed: advances epochs, sends heartbeats, and records the sending time of the
//! newest heartbeat that came back.

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

/// The state that the follower writes and requests read.
pub(super) struct FeedState {
    pub(super) lease: Duration,
    /// The lease in nanoseconds.
    lease_nanos: u64,
    timeline: Timeline,
    freshness: Freshness,
    /// When the newest heartbeat that came back was sent; `None` while the feed is down.
    proof: watch::Sender<Option<u64>>,
    /// The latest instant that a request has asked for: it waits for a heartbeat sent then or
    /// later.
    requested_at: AtomicU64,
    /// Wakes the follower when a request needs a heartbeat.
    wake: Notify,
    /// The newest round-trip time of a heartbeat, in nanoseconds; 0 before the first heartbeat.
    lag: AtomicU64,
}

/// One slot for each value of a digest's first two bytes.
const SLOTS: usize = 1 << 16;

/// The shortest time between two heartbeats that requests wait for.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(25);

/// How long a request waits for a heartbeat before it queries the store instead.
const PROOF_TIMEOUT: Duration = Duration::from_millis(500);
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest pause between two attempts to subscribe.
const RECONNECT_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

// === impl FeedState ===

impl FeedState {
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            lease,
            lease_nanos: nanos(lease),
            timeline: Timeline::start(),
            freshness: Freshness::new(SLOTS),
            proof: watch::Sender::new(None),
            requested_at: AtomicU64::new(0),
            wake: Notify::new(),
            lag: AtomicU64::new(0),
        }
    }

    /// Returns the time on the monotonic clock, in nanoseconds.
    pub(super) fn now(&self) -> u64 {
        self.at(monotonic())
    }

    pub(super) fn at(&self, instant: Instant) -> u64 {
        self.timeline.at(instant)
    }

    /// Returns the instant one lease before `now`.
    pub(super) fn lease_start(&self, now: u64) -> u64 {
        now.saturating_sub(self.lease_nanos)
    }

    pub(super) fn instant(&self, now: u64) -> Instant {
        self.timeline.instant(now)
    }

    /// Returns whether every change committed before `since` has been applied.
    pub(super) fn is_proven(&self, since: u64) -> bool {
        self.freshness.is_proven(since)
    }

    /// Returns when the lease of the newest heartbeat ends.
    pub(super) fn proven_until(&self) -> u64 {
        self.freshness.proven_until(self.lease_nanos)
    }

    /// Returns whether a result for this key with the noted epoch was still true one lease before
    /// `now`.
    pub(super) fn is_fresh(&self, digest: &KeyDigest, noted: Epoch, now: u64) -> bool {
        self.freshness.is_fresh(slot(digest), noted, self.lease_start(now))
    }

    pub(super) fn epoch(&self, digest: &KeyDigest) -> Epoch {
        self.freshness.epoch(slot(digest))
    }

    /// Returns whether a result for this key is known to have been true at `since` or later. A
    /// result from before a gap is known to have been true before the gap only.
    pub(super) fn was_fresh_at(&self, digest: &KeyDigest, noted: Epoch, asked_at: u64, since: u64) -> bool {
        let slot = slot(digest);
        self.freshness.was_fresh_at(slot, noted, since)
            || (asked_at >= since && self.freshness.is_unchanged(slot, noted))
    }

    /// Returns whether no change of this key was reported since `noted`.
    pub(super) fn is_current(&self, digest: &KeyDigest, noted: Epoch) -> bool {
        self.freshness.is_current(slot(digest), noted)
    }

    pub(super) fn lag(&self) -> Option<Duration> {
        Some(self.lag.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    /// Waits until a heartbeat sent at `since` or later has come back. Returns false on timeout, or
    /// when the feed is lost.
    pub(super) async fn prove_since(&self, since: u64) -> bool {
        let mut proof = self.proof.subscribe();
        self.requested_at.fetch_max(since, Ordering::AcqRel);
        self.wake.notify_one();
        let proven = proof.wait_for(|proof| proof.is_none_or(|sent| sent >= since));
        matches!(timeout(self.lease.min(PROOF_TIMEOUT), proven).await, Ok(Ok(proof)) if proof.is_some())
    }

    pub(super) fn apply(&self, change: Invalidation) {
        match change {
            Invalidation::Digest(digest) => self.freshness.changed(slot(&digest)),
            Invalidation::DigestPrefix(bytes) => self.freshness.changed(slot_of(bytes)),
            Invalidation::All => self.freshness.changed_all(),
        }
    }

    /// Follows the feed forever and subscribes again after each loss.
    pub(super) async fn follow<C: ChangeFeed>(self: Arc<Self>, mut feed: C) {
        let [shortest, longest] = RECONNECT_PAUSES;
        let mut pause = shortest;
        loop {
            // A feed that panics counts as lost.
            let Err(error) = catch_panic(self.follow_once(&mut feed))
                .await
                .unwrap_or_else(|_| Err("the change feed panicked".into()));
            if self.proof.send_replace(None).is_some() {
                pause = shortest;
            }
            report_lost(&*error);
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }

    /// Follows the feed until it is lost.
    async fn follow_once<C: ChangeFeed>(&self, feed: &mut C) -> Result<Infallible, BoxError> {
        timeout(SUBSCRIBE_TIMEOUT, boxed(feed.subscribe())).await??;
        let mut sent = self.send_heartbeat(feed, true).await?;
        loop {
            let is_requested = self.requested_at.load(Ordering::Acquire) > sent;
            let pause = if is_requested {
                // A slow feed gets fewer heartbeats.
                MIN_HEARTBEAT_INTERVAL.max(self.lag().unwrap_or_default() * 4)
            } else {
                self.lease / 4
            };
            let due = self.instant(sent) + pause.min(self.lease / 4);
            tokio::select! {
                change = boxed(feed.next()) => self.apply(change?),
                () = sleep_until(due) => sent = self.send_heartbeat(feed, false).await?,
                () = self.wake.notified() => {}
            }
        }
    }

    /// Sends a heartbeat, waits until it is back, and returns the instant at which it was sent. The
    /// first one after a loss invalidates all entries.
    async fn send_heartbeat<C: ChangeFeed>(&self, feed: &mut C, is_first: bool) -> Result<u64, BoxError> {
        let sent = self.now();
        let changes = timeout(self.lease, boxed(feed.heartbeat())).await??;
        if is_first {
            self.apply(Invalidation::All);
        }
        for change in changes {
            self.apply(change);
        }
        let lag = self.now() - sent;
        self.lag.store(lag.max(1), Ordering::Relaxed);
        self.freshness.prove(sent);
        self.proof.send_replace(Some(sent));
        report_heartbeat(Duration::from_nanos(lag));
        Ok(sent)
    }
}

async fn boxed<T, E: Into<BoxError>>(result: impl Future<Output = Result<T, E>>) -> Result<T, BoxError> {
    result.await.map_err(Into::into)
}

fn slot(digest: &KeyDigest) -> usize {
    let [first, second, ..] = *digest.as_bytes();
    slot_of([first, second])
}

fn slot_of(bytes: [u8; 2]) -> usize {
    usize::from(u16::from_be_bytes(bytes))
}

#[allow(unused_variables, reason = "used by the feature `metrics` only")]
fn report_heartbeat(lag: Duration) {
    #[cfg(feature = "metrics")]
    {
        metrics::histogram!("api_key_changes_lag_seconds").record(lag);
        metrics::gauge!("api_key_changes_followed").set(1.0);
    }
}

#[allow(unused_variables, reason = "used by the feature `tracing` only")]
fn report_lost(error: &(dyn std::error::Error + Send + Sync + 'static)) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("api_key_changes_followed").set(0.0);
    #[cfg(feature = "tracing")]
    tracing::warn!(error, "the change feed is lost: every lookup queries the store");
}
