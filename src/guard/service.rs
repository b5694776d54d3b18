//! Calls the inner service, or answers with an empty response that carries the rejection.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Require;
use crate::{body::ResponseBody, rejection::Rejection};

/// A service behind a [`Require`] guard. It is ready when the inner one is.
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
    /// The response of a [`GuardedService`].
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::Service;
    /// use tower_api_key::guard::{GuardFuture, GuardedService};
    ///
    /// fn call<S, B, R>(service: &mut GuardedService<S>, request: Request<B>) -> GuardFuture<S::Future>
    /// where
    ///     S: Service<Request<B>, Response = Response<R>> + Clone,
    /// {
    ///     service.call(request)
    /// }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardFuture<F> {
        #[pin]
        state: GuardState<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum GuardState<F> {
        Running {
            #[pin]
            future: F,
        },
        Refused {
            rejection: Option<Rejection>,
        },
    }
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
    type Future = GuardFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if let Some(verdict) = self.guard.admit_by_permissions(request.method(), request.extensions()) {
            return self.act(verdict, request);
        }
        let (parts, body) = request.into_parts();
        let verdict = self.guard.admit(&parts);
        self.act(verdict, Request::from_parts(parts, body))
    }
}

impl<S: Clone> GuardedService<S> {
    fn act<B>(&mut self, verdict: Result<(), Rejection>, request: Request<B>) -> GuardFuture<S::Future>
    where
        S: Service<Request<B>>,
    {
        let state = match verdict {
            Ok(()) => GuardState::Running { future: self.inner.call(request) },
            Err(rejection) => {
                // The service that was polled ready goes, with whatever permit it holds.
                let unready = self.inner.clone();
                drop(mem::replace(&mut self.inner, unready));
                GuardState::Refused { rejection: Some(rejection) }
            }
        };
        GuardFuture { state }
    }
}

impl<F, ResBody, E> Future for GuardFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Running { future } => {
                let response = ready!(future.poll(context))?;
                Poll::Ready(Ok(response.map(ResponseBody::inner)))
            }
            StateProjection::Refused { rejection } => {
                let rejection = rejection.take().expect("a GuardFuture was polled after it was done");
                let empty = ResponseBody::refusal(Bytes::new());
                Poll::Ready(Ok(rejection.into_response_with(empty)))
            }
        }
    }
}
