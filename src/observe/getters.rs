//! The properties of a [`Decision`].

use std::{error::Error, fmt, net::IpAddr, time::Duration};

use http::Method;

use super::{Decision, Outcome, PreviousPepper};
use crate::{
    record::{KeyId, KeyRecord},
    rejection::{Cause, Missing, MissingPermission},
    scheme::Scheme,
};

// === impl Decision ===

impl Decision {
    /// Returns the outcome.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the method of the request.
    pub fn method(&self) -> &Method {
        self.request.as_ref().map_or(&Method::GET, |request| &request.method)
    }

    /// Returns the path of the request, not percent-decoded, without its query, which may contain a
    /// key. Under axum's `nest` it has no prefix.
    pub fn path(&self) -> &str {
        self.request.as_ref().map_or("", |request| request.path.path())
    }

    /// Returns the scheme that carried the key, or that the client tried to use.
    pub fn scheme(&self) -> Option<&Scheme> {
        self.scheme
    }

    /// Returns the id of the key, if the store has a record of it, even if the key is rejected.
    pub fn key_id(&self) -> Option<&KeyId> {
        self.record.as_ref().map(KeyRecord::id)
    }

    /// Returns the organization of the key.
    pub fn organization(&self) -> Option<&str> {
        self.record.as_ref().and_then(KeyRecord::organization)
    }

    /// Returns the permissions that the key lacked, if a guard or
    /// [`Principal::require`](crate::Principal::require) rejected it for that. If any one of
    /// several is enough, returns all of them.
    pub fn missing_permissions(&self) -> &[MissingPermission] {
        self.rare.as_ref().and_then(|rare| rare.missing.as_deref()).map_or(&[], Missing::permissions)
    }

    /// Returns the names of the limits that rejected the request.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, store::MemoryStore};
    ///
    /// let layer = ApiKeyLayer::builder(MemoryStore::new())
    ///     .observe(|decision| {
    ///         for limit in decision.violated_limits() {
    ///             eprintln!("{limit} is used up for key {:?}", decision.key_id());
    ///         }
    ///     })
    ///     .build();
    /// ```
    pub fn violated_limits(&self) -> impl Iterator<Item = &str> {
        let violated = self.rare.as_ref().and_then(|rare| rare.violated.as_deref());
        violated.into_iter().flatten().map(|name| &**name)
    }

    /// Returns the address of the client, if the key does not allow it:
    /// [`Reason::WrongAddress`](crate::Reason::WrongAddress).
    pub fn client_address(&self) -> Option<IpAddr> {
        self.rare.as_ref()?.client_address
    }

    /// Returns how long the store took to answer, if the request waited and got an answer.
    pub fn store_time(&self) -> Option<Duration> {
        self.rare.as_ref()?.store_time
    }

    /// Returns whether the key is valid but stored under an older pepper: see
    /// [`KeyHasher::with_previous`](crate::KeyHasher::with_previous). Once it returns false for
    /// every key in use, you can remove the older peppers. Guards do not change the result.
    pub fn used_previous_pepper(&self) -> bool {
        self.outdated().is_some()
    }

    pub(crate) fn outdated(&self) -> Option<&PreviousPepper> {
        self.rare.as_ref()?.outdated.as_ref()
    }

    /// Returns whether the request presented a valid [token](crate::token) of its key, rather than
    /// the key.
    pub fn is_token(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.token_ends_at().is_some())
    }

    /// Returns what was wrong with the form of the credential, if it was rejected for that.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Returns the error of the store, if it failed.
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.rare.as_ref()?.error.as_deref()
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("outcome", &self.outcome)
            .field("method", self.method())
            .field("path", &self.path())
            .field("scheme", &self.scheme.map(ToString::to_string))
            .field("key_id", &self.key_id())
            .field("organization", &self.organization())
            .field("missing_permissions", &self.missing_permissions())
            .field("violated_limits", &self.violated_limits().collect::<Vec<_>>())
            .field("client_address", &self.client_address())
            .field("is_token", &self.is_token())
            .field("cause", &self.cause())
            .field("error", &self.error())
            .field("store_time", &self.store_time())
            .field("is_outdated", &self.used_previous_pepper())
            .finish_non_exhaustive()
    }
}
