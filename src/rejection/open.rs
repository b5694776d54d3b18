//! Rejections that the guards, extractors and handlers of an application return.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CACHE_CONTROL};

use super::{Reason, Rejection};
use crate::{record::KeyRecord, scheme::Scheme};

impl Rejection {
    /// Returns a rejection with 403, for a caller that may not do this.
    ///
    /// Return it from a guard ([`Require::check`](crate::Require::check)), an extractor or a
    /// handler inside an [`ApiKeyLayer`](crate::ApiKeyLayer). The layer renders it in its own
    /// format and reports it once. [`Principal::require`](crate::Principal::require) names the
    /// missing permission by itself.
    ///
    /// ```
    /// use tower_api_key::{Reason, Rejection};
    ///
    /// fn publish(is_owner: bool) -> Result<(), Rejection> {
    ///     if !is_owner {
    ///         return Err(Rejection::forbidden().with_detail("Only the owner may publish this page."));
    ///     }
    ///     Ok(())
    /// }
    /// assert_eq!(publish(false).unwrap_err().reason(), Reason::Forbidden);
    /// ```
    pub fn forbidden() -> Self {
        Self::new(Reason::Forbidden)
    }

    /// Returns a rejection with 404, for a resource that does not exist or is hidden from the
    /// caller. See [`forbidden`](Self::forbidden).
    ///
    /// ```
    /// use tower_api_key::{Rejection, Problem};
    ///
    /// assert_eq!(Rejection::not_found().reason().problem(), Problem::NotFound);
    /// ```
    pub fn not_found() -> Self {
        Self::new(Reason::NotFound)
    }

    /// Returns a rejection with 429 (RFC 6585 §4), for a caller that may retry after this time.
    /// `Retry-After` is in whole seconds, rounded up, at least 1. A gRPC client reads the exact
    /// time in the details of its status. See [`forbidden`](Self::forbidden).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::Rejection;
    ///
    /// let rejection = Rejection::too_many_requests(Duration::from_millis(1200));
    /// assert_eq!(rejection.retry_after(), Some(Duration::from_millis(1200))); // `Retry-After: 2`
    /// ```
    pub fn too_many_requests(after: Duration) -> Self {
        let mut rejection = Self::new(Reason::TooManyRequests);
        rejection.rare.get_or_insert_default().retry_after = Some(after);
        rejection
    }

    /// Returns a rejection with 503 and `Retry-After: 1`, for a check that cannot decide because
    /// its own database or service fails. See [`forbidden`](Self::forbidden).
    ///
    /// Do not return [`forbidden`](Self::forbidden) instead: the caller may be authorized, and
    /// clients do not retry a 403. The rejection does not carry the error: log it in the check.
    ///
    /// ```
    /// use tower_api_key::{Reason, Rejection, Require, rejection::Verdict};
    ///
    /// async fn has_paid(organization: &str) -> Result<bool, std::io::Error> {
    ///     Ok(organization == "acme") // from your database
    /// }
    ///
    /// let paid = Require::check(|key, _parts| {
    ///     let organization = key.organization().unwrap_or_default().to_owned();
    ///     Verdict::wait(async move {
    ///         let has_paid = has_paid(&organization).await.map_err(|_| Rejection::unavailable())?;
    ///         if has_paid { Ok(()) } else { Err(Rejection::forbidden()) }
    ///     })
    /// });
    /// assert_eq!(Rejection::unavailable().reason(), Reason::CheckUnavailable);
    /// ```
    pub fn unavailable() -> Self {
        Self::new(Reason::CheckUnavailable)
    }

    /// Replaces the sentence for the client, in problem+json, in text and in a gRPC message.
    ///
    /// A layer with
    /// [`hide_forbidden_details`](crate::layer::ApiKeyLayerBuilder::hide_forbidden_details) hides
    /// the sentence of a 403. Put no secret into it.
    ///
    /// ```
    /// use tower_api_key::Rejection;
    ///
    /// let rejection = Rejection::not_found().with_detail("There is no such page.");
    /// assert_eq!(rejection.detail(), "There is no such page.");
    /// assert_eq!(Rejection::not_found().detail(), "There is no such resource.");
    /// ```
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.rare.get_or_insert_default().detail = Some(detail.into());
        self
    }

    /// Returns the sentence of [`with_detail`](Self::with_detail), or else that of the
    /// [`Problem`](super::Problem). A custom format may send it.
    pub fn detail(&self) -> &str {
        self.own_detail().unwrap_or(self.reason().problem().detail())
    }

    pub(super) fn own_detail(&self) -> Option<&str> {
        self.rare.as_ref()?.detail.as_deref()
    }

    /// Returns the time after which the client may retry: for a 429 that of the limit or the one
    /// that the application set, for a 503 one second. `None` for a 429 of a limit that the request
    /// can never pass.
    pub fn retry_after(&self) -> Option<Duration> {
        self.own_retry_after().or(self.reason().problem().retry_after())
    }

    pub(super) fn own_retry_after(&self) -> Option<Duration> {
        self.rare.as_ref()?.retry_after
    }

    /// Adds a header to the response, such as a `RateLimit` field. Several values of one name are
    /// all sent.
    ///
    /// A header that the response already has takes precedence, such as `Cache-Control` or the
    /// challenge of the layer, or a header of a middleware. A layer with
    /// [`hide_forbidden_details`](crate::layer::ApiKeyLayerBuilder::hide_forbidden_details) omits
    /// the headers of a 403. In gRPC, the header is part of the trailers-only response.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{HeaderName, HeaderValue};
    /// use tower_api_key::Rejection;
    ///
    /// let name = HeaderName::from_static("ratelimit");
    /// let rejection = Rejection::too_many_requests(Duration::from_secs(30))
    ///     .with_header(name, HeaderValue::from_static("\"hourly\";r=0;t=30"));
    /// assert_eq!(rejection.headers().map(|headers| headers.len()), Some(1));
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.rare.get_or_insert_default().headers.get_or_insert_default().append(name, value);
        self
    }

    /// Returns the headers of [`with_header`](Self::with_header), if there are any.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.rare.as_ref()?.headers.as_deref()
    }

    /// Returns a response with the status of this rejection and the body `empty`. It carries the
    /// rejection to the layer, which renders it. Use it in a service that is not built with axum.
    ///
    /// ```
    /// use http::Response;
    /// use tower_api_key::Rejection;
    ///
    /// let response: Response<String> = Rejection::not_found().into_response_with(String::new());
    /// assert_eq!(response.status(), 404);
    /// assert!(response.extensions().get::<Rejection>().is_some());
    /// ```
    pub fn into_response_with<B>(self, empty: B) -> Response<B> {
        let mut response = Response::new(empty);
        *response.status_mut() = self.reason().problem().status();
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(self);
        response
    }

    /// Adds the accepted key, unless the rejection names one.
    pub(crate) fn of_key(mut self, scheme: &'static Scheme, record: &KeyRecord) -> Self {
        self.record = self.record.or_else(|| Some(record.clone()));
        self.of_accepted(scheme)
    }

    /// Adds the scheme of the accepted key, unless the rejection names one.
    pub(crate) fn of_accepted(mut self, scheme: &'static Scheme) -> Self {
        self.scheme = self.scheme.or(Some(scheme));
        self
    }
}
