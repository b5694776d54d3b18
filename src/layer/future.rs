//! The response, once the store and the inner service have answered.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{ResponseBody, check::PendingCredential, report::Report};
use crate::{
    clock::Stopwatch,
    store::{Answer, PendingAnswer},
};

pin_project! {
    /// The response of an [`ApiKeyService`](super::ApiKeyService).
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::Service;
    /// use tower_api_key::layer::{ApiKeyService, ResponseFuture};
    ///
    /// fn call<S, B, R>(service: &mut ApiKeyService<S>, request: Request<B>) -> ResponseFuture<S, B>
    /// where
    ///     S: Service<Request<B>, Response = Response<R>> + Clone,
    /// {
    ///     service.call(request)
    /// }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        /// The store has to wait. This is the only state that is boxed.
        Waiting {
            lookup: PendingAnswer,
            pending: Option<Box<Pending<S, B>>>,
        },
        Running {
            #[pin]
            future: S::Future,
            report: Report,
        },
        Refused {
            response: Option<Response<Bytes>>,
        },
    }
}

/// A request that waits for its key to be looked up, with the service that is ready for it.
pub(super) struct Pending<S, B> {
    pub(super) inner: S,
    pub(super) request: Request<B>,
    pub(super) presented: PendingCredential,
    pub(super) report: Report,
    pub(super) stopwatch: Option<Stopwatch>,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn waiting(lookup: PendingAnswer, pending: Pending<S, B>) -> Self {
        let pending = Some(Box::new(pending));
        let state = State::Waiting { lookup, pending };
        Self { state }
    }

    pub(super) fn running(future: S::Future, report: Report) -> Self {
        let state = State::Running { future, report };
        Self { state }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        let response = Some(response);
        let state = State::Refused { response };
        Self { state }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Waiting { lookup, pending } => {
                    let answer = ready!(lookup.as_mut().poll(context));
                    let next = once(pending).conclude(answer);
                    state.set(next);
                }
                StateProjection::Running { future, report } => {
                    let response = ready!(future.poll(context))?;
                    return Poll::Ready(Ok(report.conclude(response)));
                }
                StateProjection::Refused { response } => {
                    return Poll::Ready(Ok(once(response).map(ResponseBody::refusal)));
                }
            }
        }
    }
}

/// A future's end comes once; polling it again is the caller's mistake.
fn once<T>(end: &mut Option<T>) -> T {
    end.take().expect("a ResponseFuture was polled after it was done")
}

impl<S, B> Pending<S, B>
where
    S: Service<Request<B>>,
{
    fn conclude(self, answer: Answer) -> State<S, B> {
        let Self { mut inner, mut request, presented, mut report, stopwatch } = self;
        let store_time = stopwatch.map(|stopwatch| stopwatch.elapsed());
        match report.admit(&mut request, &presented, answer, store_time) {
            Ok(()) => State::Running { future: inner.call(request), report },
            Err(rejection) => State::Refused { response: Some(report.refuse(&rejection)) },
        }
    }
}
