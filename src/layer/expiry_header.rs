//! The setting of the header with the expiry of a key.

use http::{HeaderName, HeaderValue};

use super::{ApiKeyLayerBuilder, check::Checker};
use crate::{http_date::imf_fixdate, principal::Principal};

impl ApiKeyLayerBuilder {
    /// Adds the expiry of the key to each response to a request with an accepted key, in a header
    /// of this name. By default there is none. A client can warn its operator in time.
    ///
    /// The value is a date in the form of `Expires` and `Sunset`: `Fri, 15 Jan 2027 08:00:00 GMT`.
    /// Under an [`ExpiryPolicy`](crate::manage::ExpiryPolicy) it is the instant at which the policy
    /// ends the key, if that is sooner. A key without an expiry adds no header, and neither does a
    /// rejection, by a guard or by the layer. A header of the service with this name is replaced.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_api_key::{ApiKeyLayer, store::MemoryStore};
    ///
    /// let layer = ApiKeyLayer::builder(MemoryStore::new())
    ///     .expiry_header(HeaderName::from_static("api-key-expires"))
    ///     .build();
    /// assert!(layer.is_ok());
    /// ```
    pub fn expiry_header(mut self, name: HeaderName) -> Self {
        self.expiry_header = Some(name);
        self
    }
}

impl Checker {
    /// Returns when the key stops working, for a header.
    #[cold]
    pub(super) fn expiry(&self, principal: &Principal) -> Option<HeaderValue> {
        self.bounds.end(principal.record()).and_then(imf_fixdate)
    }
}
