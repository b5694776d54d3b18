//! Takes a report: verifies its sender, handles its tokens, and answers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use super::{
    report::{Feedback, Label, Reported, parse},
    sender::{NotGenuine, Sender},
};
use crate::{
    key::ApiKey,
    manage::{KeyManager, LeakAction, LeakOutcome, problem::problem, wiped::WipedBytes},
};

#[derive(Clone)]
pub(super) struct Handler {
    manager: KeyManager,
    action: LeakAction,
    turns: Arc<Semaphore>,
}

/// Why a report was not handled as a whole.
enum Refusal {
    NotGenuine(NotGenuine),
    Body(StatusCode, &'static str),
    /// A token was not handled.
    Unavailable,
}

/// The reported tokens that are equal, with their places in the report. They change one record, so
/// they are handled one after the other: at the same time, one change would stop the other.
type EqualTokens = Vec<(usize, Reported)>;

/// How many tokens are handled at a time, by all requests of a router. The manager's revocations
/// for one actor have 8 turns, so that half of them are free for those by hand.
const AT_ONCE: usize = 4;

/// The timeout of a report. GitHub waits for 30 s.
const TIMEOUT: Duration = Duration::from_secs(25);

// === impl Handler ===

impl Handler {
    pub(super) fn new(manager: &KeyManager) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { manager: manager.clone(), action: LeakAction::default(), turns }
    }

    pub(super) fn with_action(self, action: LeakAction) -> Self {
        Self { action, ..self }
    }

    /// Answers a request.
    pub(super) async fn receive(&self, sender: &Sender, request: Request) -> Response {
        let answer = timeout(TIMEOUT, self.answer(sender, request)).await;
        let mut response = match answer.unwrap_or(Err(Refusal::Unavailable)) {
            Ok(feedback) => Json(feedback).into_response(),
            Err(refusal) => refusal.into_response(),
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn answer(&self, sender: &Sender, request: Request) -> Result<Vec<Feedback>, Refusal> {
        let claim = sender.claim(request.headers(), self.manager.clock().now()).map_err(Refusal::NotGenuine)?;
        let body = Bytes::from_request(request, &()).await.map(WipedBytes);
        let body =
            body.map_err(|rejection| Refusal::Body(rejection.status(), "The body is too large or incomplete."))?;
        claim.check(&body.0).map_err(Refusal::NotGenuine)?;
        let tokens = parse(&body.0).map_err(|(status, detail)| Refusal::Body(status, detail))?;
        drop(body);
        self.handle(tokens).await
    }

    /// Handles all tokens, also those after one for which the store failed. A token that fails each
    /// time must not keep the others from being revoked.
    async fn handle(&self, tokens: Vec<Reported>) -> Result<Vec<Feedback>, Refusal> {
        let count = tokens.len();
        let mut equal: BTreeMap<String, EqualTokens> = BTreeMap::new();
        for (index, token) in tokens.into_iter().enumerate() {
            equal.entry(token.hash()).or_default().push((index, token));
        }
        let queue = Arc::new(Mutex::new(equal.into_values()));
        // Dropping the set ends the tasks, if the sender disconnects.
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE.min(count) {
            let (handler, queue) = (self.clone(), Arc::clone(&queue));
            workers.spawn(async move {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let mut answers = Vec::new();
                while let Some(equal) = next() {
                    answers.extend(handler.handle_equal(equal).await);
                }
                answers
            });
        }
        let mut answers = Vec::with_capacity(count);
        while let Some(done) = workers.join_next().await {
            answers.extend(done.unwrap_or_default());
        }
        if answers.len() < count {
            return Err(Refusal::Unavailable);
        }
        answers.sort_unstable_by_key(|(index, _)| *index);
        Ok(answers.into_iter().map(|(_, feedback)| feedback).collect())
    }

    /// Returns the answers for the tokens that were handled.
    async fn handle_equal(&self, equal: EqualTokens) -> Vec<(usize, Feedback)> {
        let _turn = self.turns.acquire().await;
        let mut answers = Vec::with_capacity(equal.len());
        for (index, token) in equal {
            let known = match ApiKey::new(token.token.trim()) {
                Ok(key) => self.manager.report_leak(&key, token.leak(), self.action).await,
                Err(_) => Ok(LeakOutcome::Unknown),
            };
            // The manager logs failures of the store.
            let Ok(outcome) = known else { continue };
            let label = if outcome.record().is_some() { Label::TruePositive } else { Label::FalsePositive };
            answers.push((index, token.feedback(label)));
        }
        answers
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NotGenuine(reason) => {
                log(reason);
                problem(StatusCode::FORBIDDEN, "The report is not from a sender that this service knows.")
            }
            Self::Body(status, detail) => problem(status, detail),
            Self::Unavailable => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "Some tokens were not handled: send the report again.")
            }
        }
    }
}

#[cfg(feature = "tracing")]
fn log(reason: NotGenuine) {
    tracing::warn!(target: "tower_api_key", error = %reason, "a leak report was rejected");
}

#[cfg(not(feature = "tracing"))]
fn log(_: NotGenuine) {}
