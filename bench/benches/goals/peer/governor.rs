//! governor: its rate limiters alone, and `tower_governor`, which has them in a layer.

use std::num::NonZeroU32;

use axum::body::Body;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock, MonotonicClock},
};
use http::{HeaderValue, Request, header::AUTHORIZATION};
use tower_governor::{GovernorError, GovernorLayer, governor::GovernorConfigBuilder, key_extractor::KeyExtractor};

use crate::item::{Item, Repeat};

type Layer = GovernorLayer<Bearer, governor::middleware::NoOpMiddleware<governor::clock::QuantaInstant>, Body>;

/// The rate of our layer beside it.
const RATE: NonZeroU32 = NonZeroU32::new(100_000_000).unwrap();

/// One rate for everybody.
pub fn direct<C: Clock>(clock: C) -> impl Item {
    let limiter = RateLimiter::direct_with_clock(Quota::per_second(RATE), clock);
    Repeat(move |_| assert!(limiter.check().is_ok()))
}

/// A rate for each of so many keys. The keys are numbers, which are the fastest to hash and to compare.
pub fn keyed<C: Clock>(keys: usize, clock: C) -> impl Item {
    let limiter = RateLimiter::dashmap_with_clock(Quota::per_second(RATE), clock);
    Repeat(move |call| assert!(limiter.check_key(&(call % keys)).is_ok()))
}

/// The clock of governor by default.
pub fn quanta() -> DefaultClock {
    DefaultClock::default()
}

/// The clock of the standard library.
pub fn instant() -> MonotonicClock {
    MonotonicClock
}

/// A layer with a rate for each credential.
pub fn layer() -> Layer {
    let mut config = GovernorConfigBuilder::default().per_nanosecond(10).burst_size(RATE.get()).key_extractor(Bearer);
    GovernorLayer::new(config.finish().expect("a rate"))
}

/// The whole header, which needs no copy of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer;

impl KeyExtractor for Bearer {
    type Key = HeaderValue;

    fn extract<B>(&self, request: &Request<B>) -> Result<HeaderValue, GovernorError> {
        request.headers().get(AUTHORIZATION).cloned().ok_or(GovernorError::UnableToExtractKey)
    }
}
