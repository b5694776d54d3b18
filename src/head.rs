//! The head of a request, borrowed while the layer processes it.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri};

/// Borrows the method, URI, headers and extensions of a request.
///
/// [`observe_with`](crate::layer::ApiKeyLayerBuilder::observe_with) and
/// [`RejectionFormat::custom_with`](crate::RejectionFormat::custom_with) receive it before the
/// request reaches the inner service.
///
/// Headers that may contain a key are marked sensitive, so their `Debug` shows no value. The query
/// in [`uri`](Self::uri) may also contain a key: log [`path`](Self::path) instead.
///
/// ```
/// use http::Request;
/// use tower_api_key::RequestHead;
///
/// fn line(head: &RequestHead<'_>) -> String {
///     let id = head.headers().get("x-request-id").and_then(|id| id.to_str().ok());
///     format!("{} {} {}", head.method(), head.path(), id.unwrap_or("-"))
/// }
///
/// let request = Request::get("/links?page=2").header("x-request-id", "r7").body(()).unwrap();
/// assert_eq!(line(&RequestHead::from(&request)), "GET /links r7");
/// ```
#[derive(Clone, Copy)]
pub struct RequestHead<'r> {
    method: &'r Method,
    uri: &'r Uri,
    headers: &'r HeaderMap,
    extensions: &'r Extensions,
}

impl<'r> RequestHead<'r> {
    pub(crate) fn with_headers<B>(request: &'r Request<B>, headers: &'r HeaderMap) -> Self {
        Self { method: request.method(), uri: request.uri(), headers, extensions: request.extensions() }
    }

    /// Returns the method.
    pub fn method(&self) -> &'r Method {
        self.method
    }

    /// Returns the URI as the layer receives it: under axum's `nest` without the prefix. Its query
    /// may contain a key.
    pub fn uri(&self) -> &'r Uri {
        self.uri
    }

    /// Returns the path of [`uri`](Self::uri), not percent-decoded, without the query.
    pub fn path(&self) -> &'r str {
        self.uri.path()
    }

    /// Returns the headers, for example to read a request id.
    pub fn headers(&self) -> &'r HeaderMap {
        self.headers
    }

    /// Returns the extensions, for example to read the peer's address from axum's `ConnectInfo`.
    pub fn extensions(&self) -> &'r Extensions {
        self.extensions
    }
}

impl<'r, B> From<&'r Request<B>> for RequestHead<'r> {
    fn from(request: &'r Request<B>) -> Self {
        Self::with_headers(request, request.headers())
    }
}

/// Shows the method and the path only.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").field("method", self.method).field("path", &self.path()).finish_non_exhaustive()
    }
}
