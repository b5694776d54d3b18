//! Many keys at once.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{
    Refusal, Verifier,
    check::{NotAccepted, Question},
    json, read,
    view::{ActiveKey, InactiveKey},
};
use crate::gateway::original::parse_target;

const MAX_KEYS: usize = 100;
const MAX_BODY: usize = 512 * 1024;

/// How many keys of one request are verified at a time.
const AT_ONCE: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: KeyText,
    method: Option<String>,
    path: Option<String>,
    client_address: Option<IpAddr>,
}

struct KeyText(Zeroizing<String>);

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

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
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

/// Parses the body. An error repeats nothing of it.
fn parse(body: &[u8], has_guard: bool) -> Result<Vec<Question>, Refusal> {
    let wrong = |description| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, description);
    let Body { keys } = serde_json::from_slice(body)
        .map_err(|_| wrong("the body is {\"keys\": [{\"key\", \"method\", \"path\", \"client_address\"}]}"))?;
    if keys.len() > MAX_KEYS {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "there are more than 100 keys"));
    }
    let question = |entry: Entry| {
        let target = match (entry.method, entry.path) {
            (None, None) => None,
            (Some(_), Some(_)) if !has_guard => {
                return Err(wrong("there is no guard to ask: leave out method and path"));
            }
            (Some(method), Some(path)) => {
                let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong("a method is none"))?;
                Some((method, parse_target(path.as_bytes()).ok_or_else(|| wrong("a path is none"))?))
            }
            (Some(_), None) | (None, Some(_)) => return Err(wrong("method and path need each other")),
        };
        Ok(Question { key: entry.key.0, client: entry.client_address, target })
    };
    keys.into_iter().map(question).collect()
}
