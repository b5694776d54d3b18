//! Follows the change feed: advances epochs, and records the newest proof that no change was
//! missed. Most feeds prove it by heartbeats, which are sent here.

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

use super::{
    freshness::{Epoch, Freshness},
    jitter::{Jitter, random_part},
};
use crate::{
    clock::{Timeline, monotonic, nanos},
    key::KeyDigest,
    store::{BoxError, ChangeFeed, Invalidation, erased::catch_panic},
};

/// The state that the follower writes and requests read.
pub struct FeedState {
    pub(in crate::store) lease: Duration,
    /// The lease in nanoseconds.
    lease_nanos: u64,
    timeline: Timeline,
    freshness: Freshness,
    /// The newest proof: the instant before which every change has been applied. For a heartbeat,
    /// it is when it was sent. `None` while the feed is down.
    proof: watch::Sender<Option<u64>>,
    /// The latest instant that a request has asked for: it waits for a proof of then or later.
    requested_at: AtomicU64,
    /// Wakes the follower when a request needs a proof.
    wake: Notify,
    /// The age of the newest proof when it arrived, in nanoseconds; 0 before the first one.
    lag: AtomicU64,
    pub(super) jitter: Jitter,
}

/// One slot for each value of a digest's first two bytes.
const SLOTS: usize = 1 << 16;

/// The shortest time between two heartbeats that requests wait for.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(25);

/// How long a request waits for a proof before it queries the store instead.
const PROOF_TIMEOUT: Duration = Duration::from_millis(500);
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest mean pause between two attempts to subscribe.
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
            jitter: Jitter::default(),
        }
    }

    /// Returns the time on the monotonic clock, in nanoseconds.
    pub(in crate::store) fn now(&self) -> u64 {
        self.at(monotonic())
    }

    pub(super) fn at(&self, instant: Instant) -> u64 {
        self.timeline.at(instant)
    }

    /// Returns the instant one lease before `now`.
    pub(super) fn lease_start(&self, now: u64) -> u64 {
        now.saturating_sub(self.lease_nanos)
    }

    pub(in crate::store) fn instant(&self, now: u64) -> Instant {
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

    /// Waits for a proof of `since` or later. Returns false on timeout, if the newest lease has
    /// ended, or when the feed is lost.
    pub(super) async fn prove_since(&self, since: u64) -> bool {
        if self.proven_until() < self.now() {
            return false;
        }
        let mut proof = self.proof.subscribe();
        self.requested_at.fetch_max(since, Ordering::AcqRel);
        self.wake.notify_one();
        let proven = proof.wait_for(|proof| proof.is_none_or(|sent| sent >= since));
        matches!(timeout(self.lease.min(PROOF_TIMEOUT), proven).await, Ok(Ok(proof)) if proof.is_some())
    }

    /// Returns the latest instant of which a request needs a proof.
    #[cfg(feature = "postgres-no-tls")]
    pub(in crate::store) fn requested_at(&self) -> u64 {
        self.requested_at.load(Ordering::Acquire)
    }

    /// Waits until a request needs a proof.
    #[cfg(feature = "postgres-no-tls")]
    pub(in crate::store) async fn requested(&self) {
        self.wake.notified().await;
    }

    pub(in crate::store) fn apply(&self, change: Invalidation) {
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
            let Err(error) =
                catch_panic(feed.follow(&self)).await.unwrap_or_else(|_| Err("the change feed panicked".into()));
            if self.proof.send_replace(None).is_some() {
                pause = shortest;
            }
            report_lost(&*error);
            // Spread over the time around the mean: all nodes lose a server at the same time.
            sleep(pause / 2 + random_part(pause)).await;
            pause = longest.min(pause * 2);
        }
    }

    /// Follows a feed with heartbeats until it is lost.
    pub(in crate::store) async fn follow_by_heartbeats<C: ChangeFeed>(
        &self,
        feed: &mut C,
    ) -> Result<Infallible, BoxError> {
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

    /// Sends a heartbeat, waits until it is back, and returns the instant at which it was sent.
    async fn send_heartbeat<C: ChangeFeed>(&self, feed: &mut C, is_first: bool) -> Result<u64, BoxError> {
        let sent = self.now();
        let changes = timeout(self.lease, boxed(feed.heartbeat())).await??;
        self.prove(sent, is_first, changes);
        Ok(sent)
    }

    /// Applies the last changes from before `since`. The first proof after a loss invalidates all
    /// entries.
    pub(in crate::store) fn prove(&self, since: u64, is_first: bool, changes: impl IntoIterator<Item = Invalidation>) {
        if is_first {
            self.jitter.record_gap(self.now());
            self.apply(Invalidation::All);
        }
        for change in changes {
            self.apply(change);
        }
        let lag = self.now() - since;
        self.lag.store(lag.max(1), Ordering::Relaxed);
        self.freshness.prove(since);
        self.proof.send_replace(Some(since));
        report_proof(Duration::from_nanos(lag));
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
fn report_proof(lag: Duration) {
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
