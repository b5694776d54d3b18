//! The observers of a layer, and the values that they keep of a request until its decision.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{Method, uri::PathAndQuery};

use super::Decision;
use crate::head::RequestHead;

/// The observers of one layer, in the order of their calls.
#[derive(Default)]
pub(crate) struct Observers {
    observers: Vec<Observer>,
    /// Whether one of them captures values of the request.
    capture: bool,
}

pub(crate) enum Observer {
    /// An observer of this crate. It reads neither method nor path.
    Own(Observe),
    /// An observer that reads the method and the path only while its second field returns true.
    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "only features add such an observer"))]
    Logging(Observe, fn() -> bool),
    Plain(Observe),
    Capturing(CaptureObserve),
}

pub(crate) type Observe = Box<dyn Fn(&Decision) + Send + Sync>;

/// Takes values from the head of a request, and returns the function that receives its decision.
pub(crate) type CaptureObserve = Box<dyn Fn(&RequestHead<'_>) -> ObserveOnce + Send + Sync>;
pub(crate) type ObserveOnce = Box<dyn FnOnce(&Decision) + Send>;

/// The values that the capturing observers took from a request, in their order. `None` if one
/// panicked.
pub(crate) type CapturedObservers = Vec<Option<ObserveOnce>>;

/// The method and the path of a request. The query is not kept, because it may contain a key.
#[derive(Clone)]
pub(crate) struct RequestLine {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
}

// === impl Observers, RequestLine ===

impl Observers {
    pub(crate) fn push(&mut self, observer: Observer) {
        self.capture |= matches!(observer, Observer::Capturing(_));
        self.observers.push(observer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.observers.is_empty()
    }

    /// Returns whether an observer may ever read values of a request.
    pub(crate) fn may_read_requests(&self) -> bool {
        self.observers.iter().any(|observer| !matches!(observer, Observer::Own(_)))
    }

    /// Returns whether an observer captures values of the request.
    pub(crate) fn capture(&self) -> bool {
        self.capture
    }

    /// Returns the method and the path, if an observer reads them.
    pub(crate) fn line_of(&self, head: &RequestHead<'_>) -> Option<Box<RequestLine>> {
        let reads = |observer: &Observer| match observer {
            Observer::Own(_) => false,
            Observer::Logging(_, is_on) => is_on(),
            Observer::Plain(_) | Observer::Capturing(_) => true,
        };
        self.observers.iter().any(reads).then(|| Box::new(RequestLine::of(head)))
    }

    /// Captures the values that the capturing observers read later.
    pub(crate) fn captured_of(&self, head: &RequestHead<'_>) -> CapturedObservers {
        let captures = self.observers.iter().filter_map(|observer| match observer {
            Observer::Capturing(capture) => Some(capture),
            Observer::Own(_) | Observer::Logging(..) | Observer::Plain(_) => None,
        });
        captures.map(|capture| catch_unwind(AssertUnwindSafe(|| capture(head))).ok()).collect()
    }

    /// Calls every observer with the decision. Catches the panic of an observer: a decision is
    /// often emitted while a response is dropped, and a second panic there would end the process.
    pub(crate) fn emit(&self, mut decision: Decision, request: Option<Box<RequestLine>>, captured: CapturedObservers) {
        decision.request = request;
        let mut captured = captured.into_iter();
        for observer in &self.observers {
            let _ = catch_unwind(AssertUnwindSafe(|| match observer {
                Observer::Own(observe) | Observer::Logging(observe, _) | Observer::Plain(observe) => observe(&decision),
                Observer::Capturing(_) => {
                    if let Some(observe) = captured.next().flatten() {
                        observe(&decision);
                    }
                }
            }));
        }
    }
}

impl RequestLine {
    fn of(head: &RequestHead<'_>) -> Self {
        let path_and_query = head.uri().path_and_query().filter(|target| target.query().is_none()).cloned();
        let path = path_and_query.or_else(|| PathAndQuery::try_from(head.path()).ok());
        Self { method: head.method().clone(), path: path.unwrap_or(PathAndQuery::from_static("/")) }
    }
}
