//! What a layer still has to do when the response comes back: render a refusal, report the outcome.

use std::{mem, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, Entry, SEC_WEBSOCKET_PROTOCOL},
};

use super::{
    admit::{AnswerTo, Authenticator, ResponseActions},
    check::PendingCredential,
    sharded_arc::ArcShard,
};
use crate::{
    body::ResponseBody,
    clock::Stopwatch,
    observe::Decision,
    rejection::{Rejection, ResponseProtocol},
    store::Answer,
};

/// Goes with a request to its end, and tells the observers once: when the response is there, or when it will never be.
pub(super) struct Report {
    authenticator: ArcShard<Authenticator>,
    dialect: ResponseProtocol,
    /// What is told, unless something else comes of the request.
    so_far: ResponseActions,
    /// How long the store was waited for, if anybody observes.
    store_time: Option<Duration>,
}

impl Report {
    pub(super) fn new(
        authenticator: ArcShard<Authenticator>,
        dialect: ResponseProtocol,
        so_far: ResponseActions,
    ) -> Self {
        Self { authenticator, dialect, so_far, store_time: None }
    }

    /// Runs while the store is waited for, if anybody observes.
    pub(super) fn stopwatch(&self) -> Option<Stopwatch> {
        self.authenticator.is_observed().then(Stopwatch::start)
    }

    /// Takes the answer of a store that had to wait.
    pub(super) fn admit<B>(
        &mut self,
        request: &mut Request<B>,
        presented: &PendingCredential,
        answer: Answer,
        store_time: Option<Duration>,
    ) -> Result<(), Rejection> {
        self.store_time = store_time;
        self.authenticator.conclude(request, presented, answer, &mut self.so_far)
    }

    /// Refuses the request itself.
    pub(super) fn refuse(mut self, rejection: &Rejection) -> Response<Bytes> {
        self.note(rejection);
        let render = self.so_far.watched.take_render();
        self.authenticator.renderer.refusal(rejection, self.dialect, render)
    }

    /// Tells caches for whom the response is, and reports it.
    #[inline]
    pub(super) fn conclude<B>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let is_refusal = response.extensions().get::<Rejection>().is_some();
        if is_refusal && !self.so_far.keeps_outer {
            return self.render(response);
        }
        self.emit();
        self.set_cache_headers(&mut response);
        if self.so_far.protocol.is_some() {
            self.select_protocol(&mut response);
        }
        response.map(ResponseBody::inner)
    }

    /// Renders the refusal of a guard or an extractor further in.
    #[cold]
    fn render<B>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let Some(rejection) = response.extensions_mut().remove::<Rejection>() else {
            return response.map(ResponseBody::inner);
        };
        let rejection = match self.so_far.unread {
            Some((reason, diagnosis)) => rejection.unread(reason, diagnosis),
            None => rejection,
        };
        let render = self.so_far.watched.take_render();
        self.note(&rejection);
        self.emit();
        let (mut parts, _) = response.into_parts();
        let refusal = self.authenticator.renderer.render(&rejection, self.dialect, render, &mut parts);
        Response::from_parts(parts, ResponseBody::refusal(refusal))
    }

    /// RFC 9111 §3.5 keeps shared caches from storing the answer to an `Authorization`, but not to a key in another header or in the query
    /// (RFC 6750 §2.3). None stores a 401 of the service's own (RFC 9110 §15.1), or the answer to a POST, as every gRPC answer is.
    #[inline]
    fn set_cache_headers<B>(&self, response: &mut Response<B>) {
        static PRIVATE: HeaderValue = HeaderValue::from_static("private");
        if self.so_far.answer == AnswerTo::Anybody || self.dialect.is_grpc() {
            return;
        }
        let is_private = self.so_far.answer == AnswerTo::Principal && response.status() != StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        if is_private && let Entry::Vacant(cache_control) = headers.entry(CACHE_CONTROL) {
            cache_control.insert(PRIVATE.clone());
        }
        self.authenticator.renderer.vary().write(headers);
    }

    /// Selects the WebSocket protocol that named the key, if the service has accepted and selected none.
    fn select_protocol<B>(&mut self, response: &mut Response<B>) {
        let is_accepted = response.status() == StatusCode::SWITCHING_PROTOCOLS || response.status().is_success();
        if let Some(protocol) = self.so_far.protocol.take().filter(|_| is_accepted) {
            response.headers_mut().entry(SEC_WEBSOCKET_PROTOCOL).or_insert(*protocol);
        }
    }

    fn emit(&mut self) {
        if let Some(decision) = self.so_far.decision.take() {
            self.authenticator.emit(decision.after_store_time(self.store_time), mem::take(&mut self.so_far.watched));
        }
    }

    fn note(&mut self, rejection: &Rejection) {
        let before = self.so_far.decision.take();
        self.so_far.decision = self.authenticator.is_observed().then(|| Decision::refused(rejection, before));
    }
}

/// The response will never be.
impl Drop for Report {
    fn drop(&mut self) {
        self.emit();
    }
}
