//! What a layer still has to do when the response comes back: render a refusal, report the outcome.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, Entry, SEC_WEBSOCKET_PROTOCOL},
};

use super::{
    authenticator::{Authenticator, Passed, Presented},
    lanes::Lane,
};
use crate::{
    body::ResponseBody,
    clock::Stopwatch,
    observe::Decision,
    rejection::{Dialect, Rejection},
    store::Answer,
};

/// Goes with a request to its end, and tells the observers once: when the response is there, or when it will never be.
pub(super) struct Report {
    authenticator: Lane<Authenticator>,
    dialect: Dialect,
    /// What is told, unless something else comes of the request.
    so_far: Passed,
    /// How long the store was waited for, if anybody observes.
    store_time: Option<Duration>,
}

impl Report {
    pub(super) fn new(authenticator: Lane<Authenticator>, dialect: Dialect, so_far: Passed) -> Self {
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
        presented: &Presented,
        answer: Answer,
        store_time: Option<Duration>,
    ) -> Result<(), Rejection> {
        self.store_time = store_time;
        self.authenticator.conclude(request, presented, answer, &mut self.so_far)
    }

    /// Refuses the request itself.
    pub(super) fn refuse(mut self, rejection: &Rejection) -> Response<Bytes> {
        self.note(rejection);
        self.authenticator.renderer.refusal(rejection, self.dialect)
    }

    /// Leaves most responses as they are.
    #[inline]
    pub(super) fn conclude<B>(&mut self, response: Response<B>) -> Response<ResponseBody<B>> {
        let is_refusal = response.extensions().get::<Rejection>().is_some();
        if is_refusal || self.so_far.by_query || self.so_far.protocol.is_some() {
            return self.change(response);
        }
        self.tell();
        response.map(ResponseBody::inner)
    }

    /// Renders the refusal of a guard or an extractor further in, and adds what a key in the URL or among the protocols asks for.
    #[cold]
    fn change<B>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let rejection = response.extensions_mut().remove::<Rejection>();
        if let Some(rejection) = &rejection {
            self.note(rejection);
        }
        self.tell();
        if let Some(rejection) = rejection {
            let (mut parts, _) = response.into_parts();
            let refusal = self.authenticator.renderer.render(&rejection, self.dialect, &mut parts);
            return Response::from_parts(parts, ResponseBody::refusal(refusal));
        }
        if self.so_far.by_query
            && let Entry::Vacant(cache_control) = response.headers_mut().entry(CACHE_CONTROL)
        {
            // RFC 6750 §2.3
            cache_control.insert(HeaderValue::from_static("private"));
        }
        let is_accepted = response.status() == StatusCode::SWITCHING_PROTOCOLS || response.status().is_success();
        if let Some(protocol) = self.so_far.protocol.take().filter(|_| is_accepted) {
            response.headers_mut().entry(SEC_WEBSOCKET_PROTOCOL).or_insert(*protocol);
        }
        response.map(ResponseBody::inner)
    }

    fn tell(&mut self) {
        if let Some(decision) = self.so_far.decision.take() {
            self.authenticator.tell(&decision.after_store_time(self.store_time));
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
        self.tell();
    }
}
