//! Calls the inner service, or answers with an empty response that carries the rejection.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Require,
    charge::{Charged, NotCharged, OwnedCharge},
};
use crate::{
    body::ResponseBody,
    ready::take_ready,
    rejection::{Rejection, Verdict, Wait},
};

/// Runs a [`Require`] guard in front of an inner service. It is ready when the inner service is.
///
/// ```
/// use tower::Layer;
/// use tower_api_key::{Require, guard::GuardedService};
///
/// fn guard<S>(inner: S) -> GuardedService<S> {
///     Require::permission("links", "create").layer(inner)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct GuardedService<S> {
    inner: S,
    guard: Require,
}

pin_project! {
    /// Resolves to the response of a [`GuardedService`].
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::Service;
    /// use tower_api_key::guard::{GuardFuture, GuardedService};
    ///
    /// fn call<S, B, R>(service: &mut GuardedService<S>, request: Request<B>) -> GuardFuture<S, B>
    /// where
    ///     S: Service<Request<B>, Response = Response<R>> + Clone,
    /// {
    ///     service.call(request)
    /// }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: GuardState<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum GuardState<S, B>
    where
        S: Service<Request<B>>,
    {
        /// A check of the application waits, or a limit.
        Waiting {
            wait: Wait,
            waiting: Option<Box<Waiting<S, B>>>,
        },
        /// The guard has charged nothing.
        Passed {
            #[pin]
            future: S::Future,
        },
        Running {
            #[pin]
            future: S::Future,
            charged: Charged,
        },
        Refused {
            rejection: Option<Rejection>,
        },
    }
}

/// A request that waits, with the service that is ready for it.
struct Waiting<S, B> {
    inner: S,
    request: Request<B>,
    charge: OwnedCharge,
}

// === impl GuardedService ===

impl<S> GuardedService<S> {
    pub(super) fn new(inner: S, guard: Require) -> Self {
        Self { inner, guard }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for GuardedService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = GuardFuture<S, ReqBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if self.guard.admits_by_permission(request.method(), request.extensions()) {
            let state = GuardState::Passed { future: self.inner.call(request) };
            return GuardFuture { state };
        }
        self.admit(request)
    }
}

impl<S: Clone> GuardedService<S> {
    /// Admits a request by its whole head. Apart, so that a guard for one permission stays small.
    #[inline(never)]
    fn admit<B>(&mut self, request: Request<B>) -> GuardFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        let (mut parts, body) = request.into_parts();
        let (verdict, charge) = self.guard.admit(&parts);
        let charged = match verdict {
            Verdict::Pass => charge.take(&mut parts.extensions),
            Verdict::Wait(wait) => match charge.look(&parts.extensions) {
                Ok(()) => Err(NotCharged::Wait(wait)),
                Err(rejection) => Err(NotCharged::Rejected(rejection)),
            },
            Verdict::Reject(rejection) => Err(NotCharged::Rejected(rejection)),
        };
        match charged {
            Ok(charged) => GuardFuture::running(self.inner.call(Request::from_parts(parts, body)), charged),
            Err(NotCharged::Wait(wait)) => {
                let (inner, charge) = (take_ready(&mut self.inner), charge.to_owned());
                let waiting = Waiting { inner, request: Request::from_parts(parts, body), charge };
                let state = GuardState::Waiting { wait, waiting: Some(Box::new(waiting)) };
                GuardFuture { state }
            }
            Err(NotCharged::Rejected(rejection)) => self.refuse(rejection),
        }
    }

    fn refuse<B>(&mut self, rejection: Rejection) -> GuardFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        drop(take_ready(&mut self.inner));
        let state = GuardState::Refused { rejection: Some(rejection) };
        GuardFuture { state }
    }
}

impl<S, B> GuardFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn running(future: S::Future, charged: Charged) -> Self {
        let state = GuardState::Running { future, charged };
        Self { state }
    }
}

impl<S, B, ResBody> Future for GuardFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Waiting { wait, waiting } => {
                    let result = ready!(wait.as_mut().poll(context));
                    let mut waiting = once(waiting);
                    let charged = match result {
                        Ok(()) => waiting.charge.as_charge().take(waiting.request.extensions_mut()),
                        Err(rejection) => Err(NotCharged::Rejected(rejection)),
                    };
                    state.set(match charged {
                        Ok(charged) => {
                            let Waiting { mut inner, request, .. } = *waiting;
                            GuardState::Running { future: inner.call(request), charged }
                        }
                        Err(NotCharged::Wait(wait)) => GuardState::Waiting { wait, waiting: Some(waiting) },
                        Err(NotCharged::Rejected(rejection)) => GuardState::Refused { rejection: Some(rejection) },
                    });
                }
                StateProjection::Passed { future } => {
                    let response = ready!(future.poll(context))?;
                    return Poll::Ready(Ok(response.map(|body| ResponseBody::inner(body, None))));
                }
                StateProjection::Running { future, charged } => {
                    let response = ready!(future.poll(context))?;
                    let held = charged.end(response.extensions());
                    return Poll::Ready(Ok(response.map(|body| ResponseBody::inner(body, held))));
                }
                StateProjection::Refused { rejection } => {
                    let empty = ResponseBody::refusal(Bytes::new());
                    return Poll::Ready(Ok(once(rejection).into_response_with(empty)));
                }
            }
        }
    }
}

fn once<T>(end: &mut Option<T>) -> T {
    end.take().expect("a GuardFuture was polled after it was done")
}
