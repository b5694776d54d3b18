//! Calls the inner service, or refuses.

use std::{
    mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    ResponseBody, ResponseFuture,
    admit::{Admission, Authenticator, ResponseActions},
    check::PendingLookup,
    future::Pending,
    report::Report,
    sharded_arc::ShardedArc,
};
use crate::rejection::ResponseProtocol;

/// A service behind an [`ApiKeyLayer`](super::ApiKeyLayer). It is ready when the inner one is.
///
/// ```
/// use tower::Layer;
/// use tower_api_key::{ApiKeyLayer, layer::ApiKeyService, store::MemoryStore};
///
/// fn protect<S>(inner: S) -> ApiKeyService<S> {
///     ApiKeyLayer::builder(MemoryStore::new()).build().unwrap().layer(inner)
/// }
/// ```
#[derive(Clone)]
pub struct ApiKeyService<S> {
    inner: S,
    authenticator: ShardedArc<Authenticator>,
}

// === impl ApiKeyService ===

impl<S> ApiKeyService<S> {
    pub(super) fn new(inner: S, authenticator: ShardedArc<Authenticator>) -> Self {
        Self { inner, authenticator }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ApiKeyService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let dialect = ResponseProtocol::of(request.method(), request.headers(), self.authenticator.serves_grpc);
        let mut passed =
            ResponseActions { watched: self.authenticator.watch(&mut request), ..ResponseActions::default() };
        match self.authenticator.admit(&mut request, &mut passed) {
            Admission::Pass => {
                let report = Report::new(self.authenticator.shard(), dialect, passed);
                ResponseFuture::running(self.inner.call(request), report)
            }
            Admission::Wait(waiting) => {
                let PendingLookup { presented, lookup } = *waiting;
                passed.decision = self.authenticator.abandoned(&presented);
                let report = Report::new(self.authenticator.shard(), dialect, passed);
                let stopwatch = report.stopwatch();
                let inner = self.take_ready();
                ResponseFuture::waiting(lookup, Pending { inner, request, presented, report, stopwatch })
            }
            Admission::Refuse(rejection) => {
                drop(self.take_ready());
                ResponseFuture::refused(self.authenticator.refuse(&rejection, dialect, passed.watched))
            }
        }
    }
}

impl<S: Clone> ApiKeyService<S> {
    /// The service that was polled ready, with whatever permit it holds. The clone that stays behind is polled anew.
    fn take_ready(&mut self) -> S {
        let unready = self.inner.clone();
        mem::replace(&mut self.inner, unready)
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for ApiKeyService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeyService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
