//! A clock that the test sets.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_api_key::{KeyRegistry, KeyStore};

/// The time at which every test starts.
pub fn t0() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

#[derive(Clone)]
pub struct TestClock(Arc<Mutex<SystemTime>>);

impl TestClock {
    /// A clock at [`t0`].
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(t0())))
    }

    pub fn at_t0() -> Self {
        Self::new()
    }

    pub fn get(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }

    pub fn set(&self, now: SystemTime) {
        *self.0.lock().unwrap() = now;
    }
}
