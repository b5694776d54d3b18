//! Sessions of the host application: a closure from the head of a request to an actor.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use http::request::Parts;
use tokio::time::timeout;

use crate::{
    error::BoxError,
    manage::{Actor, ManageError, failed_session},
    store::catch_panic,
};

/// What the closure of [`sign_in_with_session`] returns: `Option<Actor>`, or a `Result` of it.
///
/// `None` is a request without a session. An error is logged, counted in the metric
/// `api_key_session_errors_total`, and answered with 503. The method has an example.
///
/// [`sign_in_with_session`]: super::DashboardBuilder::sign_in_with_session
pub trait IntoSession: sealed::Sealed {
    #[doc(hidden)]
    fn into_result(self) -> Result<Option<Actor>, BoxError>;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for Option<super::Actor> {}
    impl<E> Sealed for Result<Option<super::Actor>, E> {}
}

/// The closure, with its type erased.
#[derive(Clone)]
pub(super) struct HostSession(Arc<dyn Fn(Parts) -> PendingActor + Send + Sync>);

type PendingActor = Pin<Box<dyn Future<Output = Result<Option<Actor>, BoxError>> + Send>>;

/// How long the closure may take. It equals the default timeout of a layer's store.
const TIMEOUT: Duration = Duration::from_secs(5);

// === impl IntoSession ===

impl IntoSession for Option<Actor> {
    fn into_result(self) -> Result<Option<Actor>, BoxError> {
        Ok(self)
    }
}

impl<E: Into<BoxError>> IntoSession for Result<Option<Actor>, E> {
    fn into_result(self) -> Result<Option<Actor>, BoxError> {
        self.map_err(Into::into)
    }
}

// === impl HostSession ===

impl HostSession {
    pub(super) fn new<F, R>(session: F) -> Self
    where
        F: Fn(Parts) -> R + Send + Sync + 'static,
        R: Future<Output: IntoSession> + Send + 'static,
    {
        let session = Arc::new(session);
        Self(Arc::new(move |parts| {
            let session = Arc::clone(&session);
            // Called within the future, so that a panic of the closure itself is caught too.
            Box::pin(async move { session(parts).await.into_result() })
        }))
    }

    /// Returns the actor of a request. A closure that fails, panics or takes too long is an error,
    /// which is logged.
    pub(super) async fn actor(&self, parts: Parts) -> Result<Option<Actor>, ManageError> {
        let session = catch_panic((self.0)(parts));
        let failed = match timeout(TIMEOUT, session).await {
            Ok(Ok(Ok(actor))) => return Ok(actor),
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => "the closure of `sign_in_with_session` panicked".into(),
            Err(_) => "the closure of `sign_in_with_session` took longer than 5 s".into(),
        };
        Err(failed_session(failed))
    }
}
