//! The address of the client: where it comes from, and when it is read.

use http::Request;

#[cfg(feature = "dashboard")]
use super::ApiKeyLayer;
use super::{ApiKeyLayerBuilder, check::Checker};
use crate::address::ClientAddress;

impl ApiKeyLayerBuilder {
    /// Sets where the address of the client comes from. Keys with a list of
    /// [allowed addresses](crate::KeyRecord::with_allowed_addresses) are accepted only if it is in
    /// their list. A limit on failures counts by it.
    ///
    /// By default the address is unknown, and a key with a list is rejected with 403
    /// ([`Reason::UnknownAddress`](crate::Reason::UnknownAddress)). No default would be safe:
    /// behind a proxy, the peer is the proxy, and a list with your internal network would allow
    /// every client.
    ///
    /// The 403 is the same as for a key without a permission, and only a client with a working key
    /// gets it. The list is checked after the status and the times of the key, before its limits
    /// are charged.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, ClientAddress, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// let without_a_proxy = ApiKeyLayer::builder(MemoryStore::new()).client_address(ClientAddress::peer()).build()?;
    /// let behind_nginx = ApiKeyLayer::builder(MemoryStore::new())
    ///     .client_address(ClientAddress::behind(["127.0.0.1"]).x_forwarded_for()?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn client_address(mut self, address: ClientAddress) -> Self {
        self.client_address = Some(address);
        self
    }
}

impl Checker {
    /// Returns the bits of the address of a request's client, or `None` if it is unknown.
    pub(super) fn client_of<B>(&self, request: &Request<B>) -> Option<u128> {
        self.client_address.as_ref()?.find_bits(request.extensions(), request.headers())
    }
}

#[cfg(feature = "dashboard")]
impl ApiKeyLayer {
    /// Returns the address of a request's client, if the layer knows where to read it.
    pub(crate) fn client_address_of(
        &self,
        extensions: &http::Extensions,
        headers: &http::HeaderMap,
    ) -> Option<std::net::IpAddr> {
        self.authenticator.checker.client_address.as_ref()?.find(extensions, headers)
    }
}
