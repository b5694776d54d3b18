//! Calls the inner service, or rejects the request.

use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    ResponseBody, ResponseFuture,
    admit::{Admission, Authenticator, Progress, ResponseActions},
    found::PendingLookup,
    future::{Pending, Waiting},
    plain::PlainReport,
    report::Report,
    sharded_arc::ShardedArc,
};
use crate::{ready::take_ready, rejection::ResponseProtocol};

/// Authenticates requests for an inner service. [`ApiKeyLayer`](super::ApiKeyLayer) creates it. It
/// is ready when the inner service is.
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
        let protocol = ResponseProtocol::of(request.method(), request.headers(), self.authenticator.serves_grpc);
        let observation = self.authenticator.watch(&mut request);
        match self.authenticator.admit(&mut request) {
            Progress::Plain(admission) => {
                let report = PlainReport::new(self.authenticator.shard(), protocol, admission);
                ResponseFuture::plain(self.inner.call(request), report)
            }
            Progress::Done(Admission::Pass(actions)) => {
                let report = Report::new(self.authenticator.shard(), protocol, observation, actions);
                ResponseFuture::running(self.inner.call(request), report)
            }
            Progress::Done(Admission::Reject(rejection)) => {
                drop(take_ready(&mut self.inner));
                ResponseFuture::refused(self.authenticator.refuse(&rejection, protocol, observation))
            }
            Progress::Done(admission) => {
                let actions = self.authenticator.while_waiting(&admission);
                let report = Report::new(self.authenticator.shard(), protocol, observation, actions);
                let waiting = Waiting { inner: take_ready(&mut self.inner), request, report, unpaid: None };
                ResponseFuture::held(admission, waiting)
            }
            Progress::Lookup(pending) => {
                let PendingLookup { presented, lookup } = *pending;
                let decision = self.authenticator.abandoned(&presented);
                let actions = ResponseActions { decision, ..ResponseActions::default() };
                let report = Report::new(self.authenticator.shard(), protocol, observation, actions);
                let stopwatch = report.stopwatch();
                let waiting = Waiting { inner: take_ready(&mut self.inner), request, report, unpaid: None };
                ResponseFuture::looking_up(lookup, Pending { waiting, presented, stopwatch })
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ApiKeyService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
