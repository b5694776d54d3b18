//! What a layer still has to do when the response comes back: render a refusal, report the outcome.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, Entry},
    response::Parts,
};

use super::{
    authenticator::{Authenticator, Passed},
    body::ResponseBody,
};
use crate::{observe::Decision, rejection::Rejection};

/// Goes with a request to its end, and tells the observers once: when the response is there, or when it will never be.
pub(super) struct Report {
    authenticator: Arc<Authenticator>,
    is_head: bool,
    passed: Passed,
}

impl Report {
    pub(super) fn new(authenticator: Arc<Authenticator>, is_head: bool, passed: Passed) -> Self {
        Self { authenticator, is_head, passed }
    }

    /// Renders the refusal of a guard or an extractor further in; leaves every other response as it is.
    pub(super) fn conclude<B>(mut self, response: Response<B>) -> Response<ResponseBody<B>> {
        let (mut parts, body) = response.into_parts();
        if let Some(rejection) = parts.extensions.remove::<Rejection>() {
            self.passed.decision = None;
            let refusal = self.authenticator.refuse(&rejection, self.is_head, &mut parts);
            return Response::from_parts(parts, ResponseBody::refusal(refusal));
        }
        if self.passed.by_query
            && let Entry::Vacant(cache_control) = parts.headers.entry(CACHE_CONTROL)
        {
            // RFC 6750 §2.3
            cache_control.insert(HeaderValue::from_static("private"));
        }
        Response::from_parts(parts, ResponseBody::inner(body))
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(decision) = self.passed.decision.take() {
            self.authenticator.tell(&decision);
        }
    }
}

impl Authenticator {
    /// Makes `parts` the head of the refusal, returns its body, and reports it.
    pub(super) fn refuse(&self, rejection: &Rejection, is_head: bool, parts: &mut Parts) -> Bytes {
        let body = self.renderer.render(rejection, parts);
        if !self.observers.is_empty() {
            self.tell(&Decision::refused(rejection));
        }
        if is_head { Bytes::new() } else { body }
    }

    fn tell(&self, decision: &Decision) {
        for observer in &self.observers {
            observer(decision);
        }
    }
}
