//! Renders a rejection and emits the decision, once the outcome of a request is known.

use std::{mem, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, Entry, SEC_WEBSOCKET_PROTOCOL},
};

use super::{
    admit::{Audience, Authenticator, ResponseActions},
    observation::Observation,
    sharded_arc::ArcShard,
};
use crate::{
    body::ResponseBody,
    clock::Stopwatch,
    observe::Decision,
    rejection::{Rejection, ResponseProtocol},
};

/// Follows a request to its end, and emits its decision once: when the response is ready, or when
/// the caller has disconnected.
pub(super) struct Report {
    authenticator: ArcShard<Authenticator>,
    protocol: ResponseProtocol,
    observation: Observation,
    actions: ResponseActions,
    /// How long the lookup took, if there are observers.
    store_time: Option<Duration>,
}

impl Report {
    pub(super) fn new(
        authenticator: ArcShard<Authenticator>,
        protocol: ResponseProtocol,
        observation: Observation,
        actions: ResponseActions,
    ) -> Self {
        Self { authenticator, protocol, observation, actions, store_time: None }
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// Measures a lookup, if there are observers.
    pub(super) fn stopwatch(&self) -> Option<Stopwatch> {
        self.authenticator.is_observed().then(Stopwatch::start)
    }

    /// Notes that the store has answered, and what to do if the key is accepted.
    pub(super) fn looked_up(&mut self, actions: Option<ResponseActions>, store_time: Option<Duration>) {
        self.store_time = store_time;
        if let Some(actions) = actions {
            self.actions = actions;
        }
    }

    /// Notes that a check waits: until it ends, the request counts as abandoned.
    pub(super) fn wait(&mut self) {
        self.actions.decision = self.actions.decision.take().map(Decision::abandoned_by_caller);
    }

    /// Notes that the request reaches the inner service.
    pub(super) fn resume(&mut self) {
        self.actions.decision = self.actions.decision.take().map(Decision::admitted);
    }

    /// Rejects the request before the inner service is called.
    pub(super) fn refuse(mut self, rejection: Rejection) -> Response<Bytes> {
        let rejection = self.complete(rejection);
        self.note(&rejection);
        let render = self.observation.take_render();
        self.authenticator.renderer.refusal(&rejection, self.protocol, render)
    }

    /// Sets the cache headers of the response, and emits the decision.
    #[inline]
    pub(super) fn conclude<B>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let is_refusal = response.extensions().get::<Rejection>().is_some();
        if is_refusal && !self.actions.keeps_outer {
            return self.render(response);
        }
        self.emit();
        self.set_cache_headers(&mut response);
        if self.actions.protocol.is_some() {
            self.select_protocol(&mut response);
        }
        response.map(ResponseBody::inner)
    }

    /// Renders the rejection of a guard, an extractor or a handler.
    #[cold]
    fn render<B>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let Some(rejection) = response.extensions_mut().remove::<Rejection>() else {
            return response.map(ResponseBody::inner);
        };
        let rejection = self.complete(rejection);
        let render = self.observation.take_render();
        self.note(&rejection);
        self.emit();
        let (mut parts, _) = response.into_parts();
        let refusal = self.authenticator.renderer.render(&rejection, self.protocol, render, &mut parts);
        Response::from_parts(parts, ResponseBody::refusal(refusal))
    }

    /// Adds what this layer knows and the rejection does not say: the scheme of the key, or why
    /// there is no key.
    fn complete(&self, rejection: Rejection) -> Rejection {
        match (self.actions.scheme, self.actions.unread) {
            (Some(scheme), _) => rejection.of_accepted(scheme),
            (None, Some((reason, diagnosis))) => rejection.unread(reason, diagnosis),
            (None, None) => rejection,
        }
    }

    /// RFC 9111 §3.5 keeps shared caches from storing the response to an `Authorization`, but not
    /// to a key in another header or in the query (RFC 6750 §2.3). No cache stores a 401 of the
    /// inner service (RFC 9110 §15.1), or the response to a POST, as every gRPC response is.
    #[inline]
    fn set_cache_headers<B>(&self, response: &mut Response<B>) {
        static PRIVATE: HeaderValue = HeaderValue::from_static("private");
        if self.actions.audience == Audience::Anybody || self.protocol.is_grpc() {
            return;
        }
        let is_private = self.actions.audience == Audience::Principal && response.status() != StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        if is_private && let Entry::Vacant(cache_control) = headers.entry(CACHE_CONTROL) {
            cache_control.insert(PRIVATE.clone());
        }
        self.authenticator.renderer.vary().write(headers);
    }

    /// Selects the WebSocket protocol that named the key, if the service has accepted the
    /// connection and selected none.
    fn select_protocol<B>(&mut self, response: &mut Response<B>) {
        let is_accepted = response.status() == StatusCode::SWITCHING_PROTOCOLS || response.status().is_success();
        if let Some(protocol) = self.actions.protocol.take().filter(|_| is_accepted) {
            response.headers_mut().entry(SEC_WEBSOCKET_PROTOCOL).or_insert(*protocol);
        }
    }

    fn emit(&mut self) {
        if let Some(decision) = self.actions.decision.take() {
            self.authenticator.emit(decision.after_store_time(self.store_time), mem::take(&mut self.observation));
        }
    }

    fn note(&mut self, rejection: &Rejection) {
        let before = self.actions.decision.take();
        self.actions.decision = self.authenticator.is_observed().then(|| Decision::refused(rejection, before));
    }
}

/// The caller has disconnected, unless the decision is emitted already.
impl Drop for Report {
    fn drop(&mut self) {
        self.emit();
    }
}
