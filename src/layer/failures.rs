//! Limits keys that fail. The address of a client is read only once its key has failed.

use http::Request;

use super::admit::Authenticator;
use crate::rejection::Rejection;
#[cfg(feature = "limits")]
use {super::ApiKeyLayerBuilder, crate::limit::FailureLimit, std::net::IpAddr};

/// The client of a request that is not available any more.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    /// The bits of the address that the list of a key is checked against.
    pub(super) address: Option<u128>,
    /// The address to which a failure is attributed.
    #[cfg(feature = "limits")]
    failed: Option<IpAddr>,
}

#[cfg(feature = "limits")]
impl ApiKeyLayerBuilder {
    /// Limits how often keys from one address may fail. Once it is over the limit, a key that
    /// fails gets 429 instead of 401, with the same response for every such key, and a
    /// `Retry-After` after which a failing key gets 401 again. [`FailureLimit`] has an example.
    ///
    /// A key that works is always accepted, at any number of failures, so a client cannot lock out
    /// another one behind the same address. The layer looks up every key to know this. So the limit
    /// makes clients with a wrong key wait, and shows them in logs and metrics by a reason. It does
    /// not protect the store, and it does not slow down guessing, since a right guess is a key that
    /// works. Generated keys cannot be guessed; for short ones, limit the requests of an address in
    /// a proxy.
    ///
    /// A failure is every key that is rejected as
    /// [`Problem::InvalidKey`](crate::Problem::InvalidKey): unknown, of a wrong format, revoked,
    /// expired and so on. A missing or malformed credential, two credentials, a 403 and a 503 do
    /// not count. IPv4 addresses count one by one, IPv6 addresses by their /64. All [unknown
    /// addresses](crate::address#unknown-addresses) count as one.
    ///
    /// Each layer counts for itself, in this process.
    pub fn limit_failures(mut self, limit: FailureLimit) -> Self {
        self.failures = Some(limit);
        self
    }
}

impl Authenticator {
    pub(super) fn caller<B>(&self, request: &Request<B>) -> Caller {
        Caller {
            address: self.checker.client_of(request),
            #[cfg(feature = "limits")]
            failed: self
                .failures
                .as_ref()
                .and_then(|failures| failures.address(request.extensions(), request.headers())),
        }
    }

    /// Counts the rejection if a key has failed. Returns a 429 instead if its caller is over the
    /// limit.
    #[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unused_self))]
    #[inline]
    pub(super) fn failed(&self, rejection: Rejection, caller: impl FnOnce() -> Caller) -> Rejection {
        #[cfg(feature = "limits")]
        if let Some(failures) = &self.failures {
            return failures.count(rejection, || caller().failed);
        }
        rejection
    }
}
