//! Waits for events in real time, in another process or thread.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{panic::Location, time::Duration};

use tokio::time::{sleep, timeout};

use super::bounds::RECOVERY;

const PAUSE: Duration = Duration::from_millis(10);

/// Waits until the condition holds, for [`RECOVERY`] at most.
#[track_caller]
pub fn until(is_so: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    until_within(RECOVERY, is_so)
}

/// Waits until the condition holds, with this timeout.
#[track_caller]
pub fn until_within(limit: Duration, mut is_so: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let place = Location::caller();
    async move {
        let wait = async {
            while !is_so().await {
                sleep(PAUSE).await;
            }
        };
        assert!(timeout(limit, wait).await.is_ok(), "the condition does not hold after {limit:?}, at {place}");
    }
}
