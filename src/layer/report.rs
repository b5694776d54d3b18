//! Renders a rejection and emits the decision, once the outcome of a request is known.

use std::{mem, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header::SEC_WEBSOCKET_PROTOCOL};

use super::{
    admit::{Authenticator, HeadersToAdd, ResponseActions},
    observation::Observation,
    sharded_arc::ArcShard,
};
use crate::{
    body::{Held, ResponseBody},
    clock::Stopwatch,
    observe::Decision,
    rejection::{Rejection, ResponseProtocol},
};

/// Follows a request to its end. Emits its decision once: when the response is ready, or when the
/// caller disconnects.
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

    /// Stores the time of the lookup.
    pub(super) fn looked_up(&mut self, store_time: Option<Duration>) {
        self.store_time = store_time;
    }

    /// Stores the actions for the response to an accepted key.
    pub(super) fn accepted(&mut self, actions: ResponseActions) {
        self.actions = actions;
    }

    /// Sets the outcome to abandoned while a check waits, in case the caller disconnects.
    /// [`Report::resume`] undoes this.
    pub(super) fn wait(&mut self) {
        self.actions.decision = self.actions.decision.take().map(Decision::abandoned_by_caller);
    }

    /// Marks the request as admitted to the inner service.
    pub(super) fn resume(&mut self) {
        self.actions.decision = self.actions.decision.take().map(Decision::admitted);
    }

    /// Rejects the request before the inner service is called.
    pub(super) fn refuse(mut self, mut rejection: Rejection) -> Response<Bytes> {
        self.give_back(&mut rejection);
        let rejection = self.complete(rejection);
        self.note(&rejection);
        let render = self.observation.take_render();
        let mut response = self.authenticator.renderer.refusal(&rejection, self.protocol, render);
        self.add_limits(&rejection, response.headers_mut());
        response
    }

    /// Sets the cache headers of the response, and emits the decision.
    #[inline]
    pub(super) fn conclude<B>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let is_refusal = response.extensions().get::<Rejection>().is_some();
        if is_refusal && !self.actions.keeps_outer {
            return self.render(response);
        }
        self.emit();
        self.authenticator.set_cache_headers(self.actions.audience, self.protocol, &mut response);
        if let Some(headers) = self.actions.headers.take() {
            self.add(*headers, &mut response);
        }
        let held = self.held();
        response.map(|body| ResponseBody::inner(body, held))
    }

    /// Renders the rejection of a guard, an extractor or a handler.
    #[cold]
    fn render<B>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let Some(mut rejection) = response.extensions_mut().remove::<Rejection>() else {
            let held = self.held();
            return response.map(|body| ResponseBody::inner(body, held));
        };
        self.give_back(&mut rejection);
        let rejection = self.complete(rejection);
        let render = self.observation.take_render();
        self.note(&rejection);
        self.emit();
        let (mut parts, _) = response.into_parts();
        let refusal = self.authenticator.renderer.render(&rejection, self.protocol, render, &mut parts);
        self.add_limits(&rejection, &mut parts.headers);
        Response::from_parts(parts, ResponseBody::refusal(refusal))
    }

    /// Adds what the rejection lacks: the scheme of the key, or why no key was read.
    fn complete(&self, rejection: Rejection) -> Rejection {
        match (self.actions.scheme, self.actions.unread) {
            (Some(scheme), _) => rejection.of_accepted(scheme),
            (None, Some((reason, diagnosis))) => rejection.unread(reason, diagnosis),
            (None, None) => rejection,
        }
    }

    /// Adds the expiry and the limits of the key. Selects the WebSocket protocol that named the key
    /// in the offer of the client, if the service has accepted the connection and selected none.
    #[cold]
    fn add<B>(&self, added: HeadersToAdd, response: &mut Response<B>) {
        let is_accepted = response.status() == StatusCode::SWITCHING_PROTOCOLS || response.status().is_success();
        let headers = response.headers_mut();
        if let Some(protocol) = added.protocol.filter(|_| is_accepted) {
            headers.entry(SEC_WEBSOCKET_PROTOCOL).or_insert(protocol);
        }
        if let (Some(name), Some(expiry)) = (&self.authenticator.expiry_header, added.expiry) {
            headers.insert(name, expiry);
        }
        if let Some(record) = added.limited.filter(|_| !self.protocol.is_grpc()) {
            self.authenticator.write_limits(&record, None, headers);
        }
    }

    fn add_limits(&self, rejection: &Rejection, to: &mut HeaderMap) {
        let limited = self.actions.headers.as_ref().and_then(|headers| headers.limited.as_ref());
        self.authenticator.add_limits(rejection, limited, self.protocol, to);
    }

    /// Returns what the body of the response holds.
    #[cfg_attr(not(feature = "limits"), expect(clippy::unused_self))]
    fn held(&self) -> Option<Held> {
        #[cfg(feature = "limits")]
        return Some(self.actions.admitted.as_ref()?.permit()?.held());
        #[cfg(not(feature = "limits"))]
        None
    }

    #[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unused_self))]
    fn give_back(&mut self, rejection: &mut Rejection) {
        #[cfg(feature = "limits")]
        if let Some(admitted) = self.actions.admitted.take() {
            self.authenticator.give_back(&admitted, rejection);
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

/// Emits the decision if the caller disconnects before the response is ready.
impl Drop for Report {
    fn drop(&mut self) {
        self.emit();
    }
}
