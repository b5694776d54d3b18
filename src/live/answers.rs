//! The answers of a source, and the questions in flight.
//!
//! Each answer has the instant at which its question was sent. A request that arrives at `now` may
//! use it if it was sent at `now` less one lease, or later: then the question was sent after every
//! change that was committed a lease before the request, so the answer has that change. The same
//! rule decides which question in flight a request may join.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Name, PendingReply};
use crate::{
    clock::{after, monotonic},
    store::BoxError,
};

pub(super) struct Answers<N, A> {
    lease: Duration,
    /// Changes when answers are forgotten.
    epoch: AtomicU64,
    subjects: Mutex<Subjects<N, A>>,
}

struct Subjects<N, A> {
    by_name: HashMap<Subject<N>, Known<A>>,
    /// How many subjects there are when those that are not in use any more are removed.
    prune_at: usize,
}

/// A name in an organization.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject<N> {
    pub(crate) name: N,
    pub(crate) organization: Option<Box<str>>,
}

/// What is known about one subject.
struct Known<A> {
    answer: Option<Answered<A>>,
    question: Option<Question<A>>,
}

/// An answer, and when its question was sent.
pub(super) struct Answered<A> {
    pub(super) answer: Arc<A>,
    pub(super) sent: Instant,
}

pub(super) type Outcome<A> = Result<Answered<A>, Arc<BoxError>>;

/// A question in flight.
struct Question<A> {
    sent: Instant,
    /// Set if it has failed: when to ask again.
    retry_at: Option<Instant>,
    outcome: watch::Sender<Option<Outcome<A>>>,
}

/// Sends the outcome of a question, and removes it. If it is dropped before, the waiters fail.
struct Asker<N: Name, A: Send + Sync + 'static> {
    answers: Arc<Answers<N, A>>,
    subject: Subject<N>,
    question: Question<A>,
}

/// A question that a request waits for.
pub(super) struct Asked<A> {
    pub(super) outcome: watch::Receiver<Option<Outcome<A>>>,
    /// When it counts as lost, so that another one is sent. `None` without a lease.
    pub(super) join_until: Option<Instant>,
}

/// What a request finds.
pub(super) enum Found<A> {
    Answer(Answered<A>),
    /// Use the answer, and ask again in the background: half of its lease is over.
    Aging(Answered<A>),
    /// Ask, or wait for the question in flight.
    Nothing,
}

/// How long a failure is the answer to all requests about its subject, as a part of the lease.
const PAUSE: u32 = 20;

/// Below so many subjects, none is removed.
const FEW: usize = 1_024;

// === impl Answers ===

impl<N: Name, A: Send + Sync + 'static> Answers<N, A> {
    pub(super) fn new(lease: Duration) -> Self {
        let subjects = Subjects { by_name: HashMap::new(), prune_at: FEW };
        Self { lease, epoch: AtomicU64::new(0), subjects: Mutex::new(subjects) }
    }

    pub(super) fn lease(&self) -> Duration {
        self.lease
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Returns until when a thread may use an answer without a look at the others.
    pub(super) fn look_again(&self, sent: Instant, now: Instant) -> Instant {
        let half = after(sent, self.lease / 2);
        if now < half { half } else { after(sent, self.lease) }
    }

    /// Returns whether what was sent at this instant may be used by a request that arrives now.
    fn is_recent(&self, sent: Instant, now: Instant) -> bool {
        now < after(sent, self.lease)
    }

    pub(super) fn find(&self, subject: &Subject<N>, now: Instant) -> Found<A> {
        let subjects = self.lock();
        let Some(known) = subjects.by_name.get(subject) else { return Found::Nothing };
        let answer = known.answer.as_ref().filter(|answer| self.is_recent(answer.sent, now));
        let is_asked = || known.question.as_ref().is_some_and(|question| self.is_open(question, now));
        match answer {
            None => Found::Nothing,
            Some(answer) if now < after(answer.sent, self.lease / 2) || is_asked() => Found::Answer(answer.clone()),
            Some(answer) => Found::Aging(answer.clone()),
        }
    }

    /// Returns the outcome of a question that was sent within the lease: the one in flight, or a
    /// new one, which `ask` sends in a task of its own.
    pub(super) fn ask(
        self: &Arc<Self>,
        subject: &Subject<N>,
        now: Instant,
        ask: impl FnOnce() -> PendingReply<A>,
    ) -> Asked<A> {
        let mut subjects = self.lock();
        subjects.prune(|sent| self.is_recent(sent, now));
        let nothing = || Known { answer: None, question: None };
        let known = subjects.by_name.entry(subject.clone()).or_insert_with(nothing);
        if let Some(question) = known.question.as_ref().filter(|question| self.is_open(question, now)) {
            return self.asked(question);
        }
        let question = Question { sent: now, retry_at: None, outcome: watch::Sender::new(None) };
        let waiting = self.asked(&question);
        known.question = Some(question.clone());
        drop(subjects);
        let asker = Asker { answers: Arc::clone(self), subject: subject.clone(), question };
        tokio::spawn(asker.run(ask()));
        waiting
    }

    /// Returns whether a request that arrives now waits for this question, or shares its failure.
    fn is_open(&self, question: &Question<A>, now: Instant) -> bool {
        match question.retry_at {
            Some(retry_at) => now < retry_at,
            None => self.is_recent(question.sent, now),
        }
    }

    fn asked(&self, question: &Question<A>) -> Asked<A> {
        let join_until = (!self.lease.is_zero()).then(|| after(question.sent, self.lease));
        Asked { outcome: question.outcome.subscribe(), join_until }
    }

    pub(super) fn forget(&self, subject: &Subject<N>) {
        let mut subjects = self.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        subjects.by_name.remove(subject);
    }

    pub(super) fn forget_all(&self) {
        let mut subjects = self.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        subjects.by_name.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Subjects<N, A>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<N: Name, A> Subjects<N, A> {
    /// Removes the subjects of which nothing is recent, if there are many.
    fn prune(&mut self, is_recent: impl Fn(Instant) -> bool) {
        if self.by_name.len() < self.prune_at {
            return;
        }
        self.by_name.retain(|_, known| {
            let answered = known.answer.as_ref().map(|answer| answer.sent);
            answered.into_iter().chain(known.question.as_ref().map(|question| question.sent)).any(&is_recent)
        });
        self.prune_at = FEW.max(2 * self.by_name.len());
    }
}

// === impl Asker ===

impl<N: Name, A: Send + Sync + 'static> Asker<N, A> {
    async fn run(self, question: PendingReply<A>) {
        let end = after(self.question.sent, self.answers.lease);
        let (mut question, mut abandoned) = (question, pin!(abandoned_until(&self.question.outcome, end)));
        let answer = poll_fn(|context| match question.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => abandoned.as_mut().poll(context).map(|()| None),
        });
        let Some(answer) = answer.await else { return };
        let sent = self.question.sent;
        self.complete(answer.map(|answer| Answered { answer: Arc::new(answer), sent }).map_err(Arc::new));
    }

    /// Keeps an answer, unless another question was sent since, or the subject was forgotten.
    fn complete(&self, outcome: Outcome<A>) {
        let pause = self.answers.lease / PAUSE;
        let mut subjects = self.answers.lock();
        if let Some(known) = subjects.by_name.get_mut(&self.subject)
            && let Some(question) = &mut known.question
            && question.outcome.same_channel(&self.question.outcome)
        {
            match &outcome {
                Ok(answer) => {
                    known.answer = Some(answer.clone());
                    known.question = None;
                }
                Err(_) => question.retry_at = Some(after(monotonic(), pause)),
            }
        }
        drop(subjects);
        self.question.outcome.send_if_modified(|kept| {
            let is_first = kept.is_none();
            kept.get_or_insert(outcome);
            is_first
        });
    }
}

impl<N: Name, A: Send + Sync + 'static> Drop for Asker<N, A> {
    fn drop(&mut self) {
        if self.question.outcome.borrow().is_none() {
            self.complete(Err(Arc::new("the question was not answered".into())));
        }
    }
}

impl<A> Clone for Answered<A> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), sent: self.sent }
    }
}

impl<A> Clone for Question<A> {
    fn clone(&self) -> Self {
        Self { sent: self.sent, retry_at: self.retry_at, outcome: self.outcome.clone() }
    }
}

/// Completes at `end`, or when nothing waits for the outcome, whichever is later.
async fn abandoned_until<A>(outcome: &watch::Sender<Option<Outcome<A>>>, end: Instant) {
    sleep_until(end).await;
    outcome.closed().await;
}
