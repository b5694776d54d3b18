//! Limits keys that fail, by the address of the client.
//!
//! The table has a fixed size, so a flood from many addresses allocates nothing. The hash of an
//! address selects one of its buckets. In a full bucket, a new address replaces the one whose burst
//! is full again first: the one with the fewest recent failures. So a flood never replaces an
//! address that is over its limit by addresses with a single failure. An address that is replaced
//! starts again at zero, and no address is ever limited for the failures of another one.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Extensions, HeaderMap};

use super::{
    clock::LimitClock,
    gcra::{Full, Gcra},
};
use crate::{
    address::ClientAddress,
    clock::Clock,
    error::ConfigError,
    rejection::{Problem, Reason, Rejection},
};

/// Limits how often keys from one address may fail: see
/// [`limit_failures`](crate::layer::ApiKeyLayerBuilder::limit_failures).
///
/// ```
/// use tower_api_key::{ApiKeyLayer, ClientAddress, limit::FailureLimit, store::MemoryStore};
///
/// # fn main() -> Result<(), tower_api_key::ConfigError> {
/// let layer = ApiKeyLayer::builder(MemoryStore::new()).limit_failures(FailureLimit::per_minute(30)).build()?;
///
/// let address = ClientAddress::behind(["10.0.0.0/24"]).x_forwarded_for()?;
/// let behind_a_proxy = ApiKeyLayer::builder(MemoryStore::new())
///     .client_address(address)
///     .limit_failures(FailureLimit::per_minute(30))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a limit does nothing until a layer is built with it"]
pub struct FailureLimit {
    per_minute: u32,
    address: Option<ClientAddress>,
    entries: usize,
}

/// The failures of all addresses at one layer.
pub(crate) struct Failures {
    address: ClientAddress,
    rate: Gcra,
    clock: LimitClock,
    /// Seeded, so that no client can choose a bucket.
    hasher: RandomState,
    buckets: Box<[Mutex<Bucket>]>,
}

type Bucket = [Entry; WAYS];

#[derive(Clone, Copy)]
struct Entry {
    prefix: Prefix,
    full_at: u64,
}

/// The part of an address that counts: a client of IPv6 usually has a whole /64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Prefix {
    /// That of an entry which is not in use.
    Free,
    Unknown,
    V4(u32),
    V6(u64),
}

const MINUTE: u64 = 60_000_000_000;

/// The number of entries in a bucket.
const WAYS: usize = 16;

// === impl FailureLimit ===

impl FailureLimit {
    /// Allows each address so many failures at once, and then as many a minute: 30 allows one more
    /// every two seconds. With 0 the layer's `build` returns [`ConfigError::FailureLimit`].
    ///
    /// The address is the layer's
    /// [`client_address`](crate::layer::ApiKeyLayerBuilder::client_address), or else that of the
    /// peer. The type's documentation has an example.
    pub fn per_minute(failures: u32) -> Self {
        Self { per_minute: failures, address: None, entries: 65_536 }
    }

    /// Sets where the address of the client comes from, if it is not the layer's
    /// [`client_address`](crate::layer::ApiKeyLayerBuilder::client_address).
    ///
    /// ```
    /// use tower_api_key::{ClientAddress, limit::FailureLimit};
    ///
    /// let limit = FailureLimit::per_minute(30).by(ClientAddress::peer());
    /// ```
    pub fn by(mut self, address: ClientAddress) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets how many addresses the layer counts at the same time, rounded up to a multiple of 16.
    /// The default is 65,536, and 0 is a [`ConfigError::FailureLimit`]. They take 24 bytes each,
    /// allocated when the layer is built.
    ///
    /// An address is counted for at most a minute after its last counted failure. If too
    /// many addresses fail at the same time, those with the fewest recent failures start again at
    /// zero.
    ///
    /// ```
    /// use tower_api_key::limit::FailureLimit;
    ///
    /// let limit = FailureLimit::per_minute(30).entries(1_000_000);
    /// ```
    pub fn entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    pub(crate) fn build(self, clock: &Clock, of_layer: Option<&ClientAddress>) -> Result<Failures, ConfigError> {
        let wrong = |why: &str| ConfigError::FailureLimit(why.to_owned());
        if self.per_minute == 0 {
            return Err(wrong("it allows no failure: use at least one a minute"));
        }
        if self.entries == 0 {
            return Err(wrong("it has no entries: use at least one"));
        }
        let burst = u64::from(self.per_minute);
        let rate = Gcra::new(burst, MINUTE, burst).ok_or_else(|| wrong("the number is too large"))?;
        let free = Entry { prefix: Prefix::Free, full_at: 0 };
        let buckets = (0..self.entries.div_ceil(WAYS)).map(|_| Mutex::new([free; WAYS])).collect();
        let address = self.address.or_else(|| of_layer.cloned()).unwrap_or_else(ClientAddress::peer);
        Ok(Failures { address, rate, clock: LimitClock::of(clock), hasher: RandomState::new(), buckets })
    }
}

// === impl Failures ===

impl Failures {
    /// Returns the address of the client.
    pub(crate) fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        self.address.find(extensions, headers)
    }

    /// Counts a key that failed, and replaces its rejection if its address is over the limit.
    ///
    /// Every rejection that the client sees as an invalid key counts, whatever its reason.
    /// Otherwise the status would reveal the reason. A request without a key, or with a credential
    /// that is not a key, guesses nothing, and does not count.
    pub(crate) fn count(&self, rejection: Rejection, address: impl FnOnce() -> Option<IpAddr>) -> Rejection {
        if rejection.reason().problem() != Problem::InvalidKey {
            return rejection;
        }
        let Err(full) = self.charge(Prefix::of(address())) else { return rejection };
        let wait = match full {
            Full::For(wait) => Some(Duration::from_nanos(wait)),
            Full::Forever | Full::Ask => None,
        };
        let limited =
            Rejection::limited(Reason::TooManyFailures, Arc::default(), wait).by_scheme(rejection.interned_scheme());
        match rejection.record() {
            Some(record) => limited.of_record(record.clone()),
            None => limited,
        }
    }

    fn charge(&self, prefix: Prefix) -> Result<(), Full> {
        let now = self.clock.now(false).monotonic;
        let buckets = self.buckets.len() as u64;
        #[allow(clippy::cast_possible_truncation, reason = "it is below the number of buckets")]
        let bucket = &self.buckets[(self.hasher.hash_one(prefix) % buckets) as usize];
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        // Its own entry, or the one that is full again first.
        let own_or_first = bucket.iter_mut().min_by_key(|entry| (entry.prefix != prefix, entry.full_at));
        let Some(entry) = own_or_first else { return Ok(()) };
        if entry.prefix != prefix {
            *entry = Entry { prefix, full_at: 0 };
        }
        entry.full_at = self.rate.admit(entry.full_at, now, 1, 1)?;
        Ok(())
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Prefix {
    fn of(address: Option<IpAddr>) -> Self {
        match address {
            None => Self::Unknown,
            Some(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Some(IpAddr::V6(address)) => {
                #[allow(clippy::cast_possible_truncation, reason = "64 bits are left")]
                let prefix = (address.to_bits() >> 64) as u64;
                Self::V6(prefix)
            }
        }
    }
}
