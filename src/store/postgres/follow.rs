//! Follows the changes for a cache, with the beat that all nodes share. See [`super::beat`] for the
//! protocol.

use std::{convert::Infallible, future::pending, pin::Pin, time::Duration};

use tokio::time::sleep_until;

use super::{
    beat::{Beats, Heard, Read, SILENCE_TIMEOUT},
    channel::{Channel, Received},
    timeout::within,
};
use crate::{
    clock::nanos,
    key::random_bytes,
    store::{BoxError, cached::FeedState},
};

/// A statement that runs while the channel is read.
type Running<T> = Option<Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send>>>;

/// Follows an open channel until it is lost.
pub(super) async fn follow(channel: &mut Channel, cache: &FeedState) -> Result<Infallible, BoxError> {
    let (lease, silence) = (cache.lease, cache.lease.max(Duration::from_nanos(SILENCE_TIMEOUT)));
    let mut node = Beats::new(nanos(lease), cache.now(), random());
    if try_hold(channel, silence).await? {
        node.hold();
    }
    // Why the last statement failed, if it has. The listening session stays open without it.
    let mut failure = None::<sqlx::Error>;
    let (mut reading, mut beating) = (Running::<Read>::None, Running::<Option<i64>>::None);
    let mut is_first = true;
    loop {
        let (now, requested_at) = (cache.now(), cache.requested_at());
        if now >= node.lost_at() {
            return Err(failure.map_or_else(|| silent(silence), Into::into));
        }
        if reading.is_none() && now >= node.read_due(requested_at) {
            let read = channel.read(node.begin_read(now, requested_at, random()));
            reading = Some(Box::pin(async move {
                let (number, server) = read.await?;
                Ok(Read { at: now, number, server })
            }));
        }
        if beating.is_none() && now >= node.beat_due() {
            // The holder has lost the lock, is stopped, or is cut off.
            if !node.is_holder() && try_hold(channel, Duration::from_nanos(node.lost_at() - now)).await? {
                node.hold();
            }
            let sent = channel.send_beat(node.begin_beat(now, random()));
            beating = Some(Box::pin(async move { Ok(sent.await?.map(|beat| beat.number)) }));
        }
        let read_due = if reading.is_none() { node.read_due(requested_at) } else { u64::MAX };
        let beat_due = if beating.is_none() { node.beat_due() } else { u64::MAX };
        let due = read_due.min(beat_due).min(node.lost_at());
        tokio::select! {
            received = channel.recv() => match received? {
                Received::Change(change) => cache.apply(change),
                Received::Ask => node.asked(cache.now(), random()),
                Received::Beat(beat) if node.is_old(beat.number) => {}
                Received::Beat(beat) => {
                    channel.check(&beat)?;
                    match node.hear(cache.now(), beat.number, beat.server, random()) {
                        Heard::Proof(since) => {
                            cache.prove(since, is_first, channel.take_any());
                            is_first = false;
                        }
                        Heard::Nothing => {}
                        Heard::OtherServer => return Err(channel.other_server().into()),
                    }
                }
            },
            read = ended(&mut reading) => match passing(read)? {
                Ok(read) => {
                    node.read(cache.now(), read);
                    failure = None;
                }
                Err(error) => {
                    node.read_failed(cache.now());
                    failure = Some(error);
                }
            },
            sent = ended(&mut beating) => match passing(sent)? {
                Ok(number) => node.sent(number),
                Err(error) => {
                    node.sent(None);
                    failure = Some(error);
                }
            },
            () = sleep_until(cache.instant(due)) => {}
            () = cache.requested() => {}
        }
    }
}

async fn try_hold(channel: &mut Channel, limit: Duration) -> Result<bool, sqlx::Error> {
    within(limit, channel.try_hold()).await
}

/// Waits until the statement has ended; forever if none is running. Cancel safe.
async fn ended<T>(running: &mut Running<T>) -> Result<T, sqlx::Error> {
    let Some(future) = running else { return pending().await };
    let result = future.await;
    *running = None;
    result
}

/// Returns the result of a statement. An error that will not pass by itself is returned as the
/// outer one: a replica, or tables that were replaced.
fn passing<T>(result: Result<T, sqlx::Error>) -> Result<Result<T, sqlx::Error>, sqlx::Error> {
    match result {
        Err(error @ sqlx::Error::Configuration(_)) => Err(error),
        result => Ok(result),
    }
}

fn silent(silence: Duration) -> BoxError {
    format!("no heartbeat came through the channel within {silence:?}").into()
}

fn random() -> u64 {
    // Without random numbers, all nodes wait for the same time, and then each sends a beat.
    random_bytes().map_or(u64::MAX / 2, u64::from_be_bytes)
}
