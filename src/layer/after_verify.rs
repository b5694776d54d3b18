//! Runs the checks of the application after a key is verified, before the inner service is called.

use http::Request;

use crate::{head::RequestHead, principal::Principal, rejection::Verdict};

/// The checks, in the order in which they run.
#[derive(Default)]
pub(super) struct AfterVerify(Vec<StageCheck>);

type StageCheck = Box<dyn Fn(&Principal, &RequestHead<'_>) -> Verdict + Send + Sync>;

impl AfterVerify {
    pub(super) fn push<V: Into<Verdict>>(
        &mut self,
        check: impl Fn(&Principal, &RequestHead<'_>) -> V + Send + Sync + 'static,
    ) {
        self.0.push(Box::new(move |principal, head| check(principal, head).into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs the checks on a request after its key is verified.
    #[inline]
    pub(super) fn check<B>(&self, principal: &Principal, request: &Request<B>) -> Verdict {
        if self.is_empty() {
            return Verdict::Pass;
        }
        self.check_head(principal, &RequestHead::from(request))
    }

    #[inline(never)]
    fn check_head(&self, principal: &Principal, head: &RequestHead<'_>) -> Verdict {
        Verdict::all(self.0.iter().map(|check| check(principal, head)))
    }
}
