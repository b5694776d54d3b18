//! Answers of a source of the application about a name, each used for one lease: what an owner may
//! do, and what a role grants.

mod answers;
mod resolving;
mod sources;

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use crate::{
    clock::monotonic,
    store::{BoxError, catch_panic},
};
pub(crate) use answers::Subject;
use answers::{Answered, Answers, Asked, Found};
pub(crate) use resolving::Resolving;
pub(crate) use sources::Sources;

/// A source that answers with `A` about names of the type `N`, and its answers. Clones share them.
pub(crate) struct Live<N, A> {
    /// As errors name it.
    what: &'static str,
    source: Arc<Source<N, A>>,
    answers: Arc<Answers<N, A>>,
}

type Source<N, A> = dyn Fn(Subject<N>) -> PendingReply<A> + Send + Sync;

/// The reply of a source, or why there is none.
type Reply<A> = Result<A, BoxError>;

type PendingReply<A> = Pin<Box<dyn Future<Output = Reply<A>> + Send>>;

/// A question whose answer is known, or is waited for.
enum Started<A> {
    Known(Arc<A>),
    Asked(Asked<A>),
}

/// The bounds of a subject's name.
pub(crate) trait Name: Clone + Eq + std::hash::Hash + Send + Sync + 'static {}

impl<N: Clone + Eq + std::hash::Hash + Send + Sync + 'static> Name for N {}

/// How long an answer is used, unless the application sets another time.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

// === impl Live ===

impl<N: Name, A: Send + Sync + 'static> Live<N, A> {
    /// Asks `source`, which calls the application only within its future: so a panic is caught.
    pub(crate) fn new<F>(
        what: &'static str,
        lease: Duration,
        source: impl Fn(Subject<N>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Reply<A>> + Send + 'static,
    {
        let source = move |subject| -> PendingReply<A> {
            let asked = source(subject);
            Box::pin(async move { catch_panic(asked).await.unwrap_or_else(|_| Err(format!("{what} panicked").into())) })
        };
        Self { what, source: Arc::new(source), answers: Arc::new(Answers::new(lease)) }
    }

    /// Sets the lease. It shares no answers with its clones.
    pub(crate) fn with_lease(self, lease: Duration) -> Self {
        Self { answers: Arc::new(Answers::new(lease)), ..self }
    }

    pub(crate) fn lease(&self) -> Duration {
        self.answers.lease()
    }

    fn epoch(&self) -> u64 {
        self.answers.epoch()
    }

    pub(crate) fn forget(&self, subject: &Subject<N>) {
        self.answers.forget(subject);
    }

    pub(crate) fn forget_all(&self) {
        self.answers.forget_all();
    }

    /// Returns a recent answer, and until when a thread may keep it. Asks in the background if
    /// there is none, or if half of its lease has passed.
    fn find_or_ask(&self, subject: &Subject<N>, now: Instant) -> Option<(Arc<A>, Instant)> {
        let found = self.answers.find(subject, now);
        if !matches!(found, Found::Answer(_)) && Handle::try_current().is_ok() {
            // `start` joins the question, if it is called.
            drop(self.ask(subject, now));
        }
        match found {
            Found::Answer(Answered { answer, sent }) | Found::Aging(Answered { answer, sent }) => {
                Some((answer, self.answers.look_again(sent, now)))
            }
            Found::Nothing => None,
        }
    }

    /// Returns a recent answer, or asks.
    fn start(&self, subject: &Subject<N>) -> Started<A> {
        let now = monotonic();
        match self.answers.find(subject, now) {
            Found::Answer(Answered { answer, .. }) | Found::Aging(Answered { answer, .. }) => Started::Known(answer),
            Found::Nothing => Started::Asked(self.ask(subject, now)),
        }
    }

    /// Waits for the answer to a question.
    async fn finish(&self, subject: &Subject<N>, started: Started<A>, deadline: Instant) -> Result<Arc<A>, BoxError> {
        let mut asked = match started {
            Started::Known(answer) => return Ok(answer),
            Started::Asked(asked) => asked,
        };
        loop {
            let until = asked.join_until.map_or(deadline, |end| end.min(deadline));
            let waiting =
                async { asked.outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone()) };
            let outcome = match timeout_at(until, waiting).await {
                Ok(outcome) => outcome,
                // The question may be lost. Another one is sent, or has been.
                Err(_) if until < deadline => {
                    asked = self.ask(subject, monotonic());
                    continue;
                }
                Err(_) => return Err(format!("{} did not answer in time", self.what).into()),
            };
            return match outcome {
                Some(Ok(Answered { answer, .. })) => Ok(answer),
                Some(Err(error)) => Err(error.to_string().into()),
                None => Err(format!("{} has ended", self.what).into()),
            };
        }
    }

    fn ask(&self, subject: &Subject<N>, now: Instant) -> Asked<A> {
        self.answers.ask(subject, now, || (self.source)(subject.clone()))
    }
}

impl<N, A> Clone for Live<N, A> {
    fn clone(&self) -> Self {
        let Self { what, source, answers } = self;
        Self { what, source: Arc::clone(source), answers: Arc::clone(answers) }
    }
}
