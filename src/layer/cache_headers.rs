//! The cache headers of a response: a cache must not give it to another caller.

use http::{HeaderValue, Response, StatusCode, header::CACHE_CONTROL};

use super::admit::{Audience, Authenticator};
use crate::rejection::ResponseProtocol;

impl Authenticator {
    /// Makes the response to an accepted key private, and adds `Vary`.
    ///
    /// RFC 9111 §3.5 forbids a shared cache to store the response to an `Authorization` header. It
    /// does not forbid this for a key in another header or in the query (RFC 6750 §2.3). A 401 of
    /// the inner service needs no `private`, because no cache stores it (RFC 9110 §15.1). A gRPC
    /// response does not change: it answers a POST, and no cache stores it.
    #[inline]
    pub(super) fn set_cache_headers<B>(
        &self,
        audience: Audience,
        protocol: ResponseProtocol,
        response: &mut Response<B>,
    ) {
        static PRIVATE: HeaderValue = HeaderValue::from_static("private");
        if audience == Audience::Anybody || protocol.is_grpc() {
            return;
        }
        let is_private = audience == Audience::Principal && response.status() != StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        if is_private && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, PRIVATE.clone());
        }
        self.renderer.vary().write(headers);
    }
}
