//! Keeps the values of a request that observers and a custom format read after the request is gone.

use http::Request;

use super::admit::Authenticator;
use crate::{
    head::RequestHead,
    observe::{self, Decision, RequestLine},
    rejection::RenderOnce,
};

/// The values from the head of a request that observers, and a format that captures, read later.
#[derive(Default)]
pub(super) struct Observation {
    line: Option<Box<RequestLine>>,
    captured: Option<Box<CapturedRequest>>,
}

/// The values that observers and the format captured from a request.
struct CapturedRequest {
    observers: observe::CapturedObservers,
    render: Option<RenderOnce>,
}

impl Observation {
    /// Takes the renderer that a format has captured for this request.
    pub(super) fn take_render(&mut self) -> Option<RenderOnce> {
        self.captured.as_mut()?.render.take()
    }
}

impl Authenticator {
    /// Keeps the values that observers and the format read later. Call it before the inner service
    /// takes the request.
    #[inline]
    pub(super) fn watch<B>(&self, request: &mut Request<B>) -> Observation {
        if !self.is_watched {
            return Observation::default();
        }
        if self.observers.capture() || self.renderer.captures() {
            self.checker.reader.mark_sensitive(request.headers_mut());
        }
        self.keep_of(&RequestHead::from(&*request))
    }

    /// Keeps the same values as [`Authenticator::watch`], without changing the request.
    pub(super) fn watch_untouched<B>(&self, request: &Request<B>) -> Observation {
        if !self.is_watched {
            return Observation::default();
        }
        if !self.observers.capture() {
            return Observation { line: self.observers.line_of(&RequestHead::from(request)), captured: None };
        }
        let mut headers = request.headers().clone();
        self.checker.reader.mark_sensitive(&mut headers);
        self.keep_of(&RequestHead::with_headers(request, &headers))
    }

    /// Calls the observers.
    pub(super) fn emit(&self, decision: Decision, watched: Observation) {
        let captured = watched.captured.map_or_else(Vec::new, |captured| captured.observers);
        self.observers.emit(decision, watched.line, captured);
    }

    fn keep_of(&self, head: &RequestHead<'_>) -> Observation {
        let is_captured = self.observers.capture() || self.renderer.captures();
        let captured = is_captured.then(|| {
            let render = self.renderer.capture(head);
            Box::new(CapturedRequest { observers: self.observers.captured_of(head), render })
        });
        Observation { line: self.observers.line_of(head), captured }
    }
}
