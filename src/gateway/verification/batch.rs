//! Many keys at once.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    Refusal, Verifier,
    body::parse,
    check::{NotAccepted, Question},
    json, read,
    view::{ActiveKey, InactiveKey},
};

const MAX_BODY: usize = 512 * 1024;

/// How many keys of one request are verified at a time.
const AT_ONCE: usize = 16;

#[derive(Serialize)]
struct Results {
    results: Vec<KeyResult>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum KeyResult {
    Active(Box<ActiveKey>),
    Inactive(InactiveKey),
}

impl Verifier {
    pub(super) async fn verify(self: Arc<Self>, request: Request) -> Result<Response, Refusal> {
        let has_guard = self.stack.is_some();
        let questions = read(request, MAX_BODY, |body| parse(body, has_guard)).await?;
        Ok(json(&Results { results: self.check_all(questions).await }).into_response())
    }

    /// Verifies the keys, some at a time. Dropping the future ends it.
    async fn check_all(self: Arc<Self>, questions: Vec<Question>) -> Vec<KeyResult> {
        let count = questions.len();
        let queue = Arc::new(Mutex::new(questions.into_iter().enumerate()));
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE.min(count) {
            let (verifier, queue) = (Arc::clone(&self), Arc::clone(&queue));
            workers.spawn(async move {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let mut results = Vec::new();
                while let Some((index, question)) = next() {
                    results.push((index, KeyResult::from(verifier.check(question).await)));
                }
                results
            });
        }
        // A check of the application that panics leaves its key without a result.
        let unknown = || KeyResult::Inactive(InactiveKey::new(StatusCode::INTERNAL_SERVER_ERROR.as_u16(), None));
        let mut results: Vec<_> = (0..count).map(|_| unknown()).collect();
        while let Some(done) = workers.join_next().await {
            for (index, result) in done.unwrap_or_default() {
                results[index] = result;
            }
        }
        results
    }
}

impl From<Result<crate::principal::Principal, NotAccepted>> for KeyResult {
    fn from(checked: Result<crate::principal::Principal, NotAccepted>) -> Self {
        match checked {
            Ok(principal) => Self::Active(Box::new(ActiveKey::new(&principal))),
            Err(NotAccepted { status, retry_after }) => Self::Inactive(InactiveKey::new(status.as_u16(), retry_after)),
        }
    }
}
