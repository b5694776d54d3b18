//! Sends a request: the HTTP client is yours.

use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};

use crate::store::BoxError;

/// Sends the requests of a [`WebhookDeliverer`](super::WebhookDeliverer) with your HTTP client. The
/// example `webhooks` uses `reqwest`.
///
/// Send the request as it is, and do not follow redirects. The deliverer adds a timeout.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use tower_api_key::{store::BoxError, webhook::WebhookSender};
///
/// struct Printer;
///
/// impl WebhookSender for Printer {
///     async fn send(&self, request: Request<Bytes>) -> Result<Response<()>, BoxError> {
///         println!("{} {}", request.uri(), String::from_utf8_lossy(request.body()));
///         let mut response = Response::new(());
///         *response.status_mut() = StatusCode::NO_CONTENT;
///         Ok(response)
///     }
/// }
/// ```
pub trait WebhookSender: Send + Sync + 'static {
    /// Sends a `POST` request. Returns the status and the headers of the response.
    ///
    /// - A 2xx ends the delivery.
    /// - 410 disables the endpoint.
    /// - Anything else is repeated, not before the time of a `Retry-After` in seconds.
    ///
    /// # Errors
    ///
    /// No response arrived. The attempt is repeated.
    fn send(&self, request: Request<Bytes>) -> impl Future<Output = Result<Response<()>, BoxError>> + Send;
}

type Sent<'s> = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send + 's>>;

/// A sender of any type.
pub(super) trait ErasedSender: Send + Sync {
    fn send(&self, request: Request<Bytes>) -> Sent<'_>;
}

impl<S: WebhookSender> ErasedSender for S {
    fn send(&self, request: Request<Bytes>) -> Sent<'_> {
        Box::pin(WebhookSender::send(self, request))
    }
}
