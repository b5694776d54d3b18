//! What a layer keeps of a request for those who learn later what came of it.

use http::Request;

use super::admit::Authenticator;
use crate::{
    head::RequestHead,
    observe::{self, Decision, RequestLine},
    rejection::RenderOnce,
};

/// What observers, and a format that captures, need of the head of a request later.
#[derive(Default)]
pub(super) struct Observation {
    line: Option<Box<RequestLine>>,
    captured: Option<Box<CapturedRequest>>,
}

/// What was captured from a request.
struct CapturedRequest {
    observers: observe::CapturedObservers,
    render: Option<RenderOnce>,
}

impl Observation {
    /// Takes what renders a refusal of this request.
    pub(super) fn take_render(&mut self) -> Option<RenderOnce> {
        self.captured.as_mut()?.render.take()
    }
}

impl Authenticator {
    /// Keeps what observers and format need of a request, before it moves into the inner service.
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

    /// The same for a request that stays as it is.
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
