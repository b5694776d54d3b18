//! The response future: waits for the store, for checks, and for the inner service.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    ResponseBody,
    admit::Admission,
    found::{Accepted, PendingCredential},
    plain::PlainReport,
    report::Report,
};
use crate::{
    clock::Stopwatch,
    rejection::{Rejection, Verdict, Wait},
    store::{Answer, PendingAnswer},
};

pin_project! {
    /// Resolves to the response of an [`ApiKeyService`](super::ApiKeyService).
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
        /// The lookup waits for the store.
        LookingUp {
            lookup: PendingAnswer,
            pending: Option<Box<Pending<S, B>>>,
        },
        /// A check after verification waits, or the limits of the key do.
        AfterVerify {
            wait: Wait,
            waiting: Option<Box<Waiting<S, B>>>,
        },
        /// The inner service runs, and nothing observes its response.
        Plain {
            #[pin]
            future: S::Future,
            report: PlainReport,
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

/// A request that waits, with the service that is ready for it.
pub(super) struct Waiting<S, B> {
    pub(super) inner: S,
    pub(super) request: Request<B>,
    pub(super) report: Report,
    /// The key whose limits wait for units.
    pub(super) unpaid: Option<Accepted>,
}

/// A request that waits for the lookup of its key.
pub(super) struct Pending<S, B> {
    pub(super) waiting: Waiting<S, B>,
    pub(super) presented: PendingCredential,
    pub(super) stopwatch: Option<Stopwatch>,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn looking_up(lookup: PendingAnswer, pending: Pending<S, B>) -> Self {
        let pending = Some(Box::new(pending));
        let state = State::LookingUp { lookup, pending };
        Self { state }
    }

    pub(super) fn held(admission: Admission, waiting: Waiting<S, B>) -> Self {
        let state = waiting.admitted(admission);
        Self { state }
    }

    #[inline]
    pub(super) fn plain(future: S::Future, report: PlainReport) -> Self {
        let state = State::Plain { future, report };
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
                StateProjection::Plain { future, report } => {
                    let response = ready!(future.poll(context))?;
                    return Poll::Ready(Ok(report.conclude(response)));
                }
                StateProjection::LookingUp { lookup, pending } => {
                    let answer = ready!(lookup.as_mut().poll(context));
                    let next = once(pending).conclude(answer);
                    state.set(next);
                }
                StateProjection::AfterVerify { wait, waiting } => {
                    let result = ready!(wait.as_mut().poll(context));
                    let next = once(waiting).waited(result);
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

/// Takes the contents of a state. Panics if the future is polled after completion.
fn once<T>(end: &mut Option<T>) -> T {
    end.take().expect("a ResponseFuture was polled after it was done")
}

impl<S, B> Pending<S, B>
where
    S: Service<Request<B>>,
{
    /// Continues with the answer of the store.
    fn conclude(self, answer: Answer) -> State<S, B> {
        let Self { mut waiting, presented, stopwatch } = self;
        let store_time = stopwatch.map(|stopwatch| stopwatch.elapsed());
        let admission = waiting.report.authenticator().conclude(&mut waiting.request, &presented, answer);
        waiting.report.looked_up(store_time);
        waiting.admitted(admission)
    }
}

impl<S, B> Waiting<S, B>
where
    S: Service<Request<B>>,
{
    /// Continues after a check, or after the limits have waited.
    fn waited(mut self, result: Result<(), Rejection>) -> State<S, B> {
        let Some(accepted) = self.unpaid.take() else { return self.proceed(result.into()) };
        if let Err(rejection) = result {
            return self.proceed(Verdict::Reject(accepted.principal.complete(rejection)));
        }
        #[cfg(feature = "limits")]
        self.report.authenticator().forget_time();
        let admission = self.report.authenticator().accept(&mut self.request, accepted.principal, accepted.outdated);
        self.admitted(admission)
    }

    /// Continues with an admission.
    fn admitted(mut self, admission: Admission) -> State<S, B> {
        let verdict = match admission {
            Admission::Pass(actions) => {
                self.report.accepted(actions);
                Verdict::Pass
            }
            Admission::Held(held) => {
                self.report.accepted(held.actions);
                held.verdict
            }
            #[cfg(feature = "limits")]
            Admission::Unpaid(unpaid) => {
                let (accepted, wait) = *unpaid;
                self.unpaid = Some(accepted);
                return State::AfterVerify { wait, waiting: Some(Box::new(self)) };
            }
            Admission::Reject(rejection) => Verdict::Reject(rejection),
        };
        self.proceed(verdict)
    }

    /// Calls the inner service, waits, or rejects the request.
    fn proceed(mut self, verdict: Verdict) -> State<S, B> {
        match verdict {
            Verdict::Pass => {
                self.report.resume();
                State::Running { future: self.inner.call(self.request), report: self.report }
            }
            Verdict::Wait(wait) => {
                self.report.wait();
                State::AfterVerify { wait, waiting: Some(Box::new(self)) }
            }
            Verdict::Reject(rejection) => State::Refused { response: Some(self.report.refuse(rejection)) },
        }
    }
}
