//! Leak reports: an axum router that takes the reports of secret scanners, and revokes the keys in
//! them.
//!
//! | request         | the sender is verified by                                                    |
//! |-----------------|------------------------------------------------------------------------------|
//! | `POST /github`  | GitHub's ECDSA signature of the body, under a current key of [`GithubKeys`]  |
//! | `POST /reports` | a shared secret, with the headers of [Standard Webhooks](crate::webhook)     |
//!
//! A request with a shared secret has a timestamp that is at most 5 minutes from the time of the
//! manager's clock.
//!
//! The body is that of GitHub's [partner program], and so is the answer. `type`, `url` and `source`
//! are optional, and other members are ignored:
//!
//! ```json
//! [{"token": "acme_4fK0…", "type": "acme_key", "url": "https://github.com/…", "source": "content"}]
//! ```
//! ```json
//! [{"token_hash": "9f86d081…", "token_type": "acme_key", "label": "true_positive"}]
//! ```
//!
//! The label is `true_positive` for each key of the manager, also for one that was revoked before,
//! and `false_positive` for any other text. The answer has the SHA-256 of a token, never the token.
//!
//! | status   | reason                                                                        |
//! |----------|-------------------------------------------------------------------------------|
//! | 403      | the sender was not verified; the answer does not say what is wrong            |
//! | 400, 422 | the body is not JSON; it is not a list of objects with a `token`              |
//! | 413      | the body has more than 1 MiB, or more than 1,000 tokens                       |
//! | 503      | the store failed for a token, or all of them took longer than 25 s            |
//!
//! After a 503, the tokens for which the store did not fail are handled. The sender may send the
//! report again.
//!
//! Each token is handled as [`KeyManager::report_leak`](crate::KeyManager::report_leak) says. The
//! router must be reachable without a key: do not put it under a layer that requires one.
//!
//! [partner program]: https://docs.github.com/code-security/secret-scanning/secret-scanning-partner-program

mod github;
mod handler;
mod report;
mod sender;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    routing::{MethodRouter, post},
};

pub use github::{GithubKeys, InvalidGithubKeys};

use crate::{
    manage::{KeyManager, LeakAction},
    webhook::WebhookSecret,
};
use handler::Handler;
use sender::Sender;

/// A router for the reports of secret scanners. See the [module](self).
///
/// ```
/// use axum::Router;
/// use tower_api_key::{KeyManager, leak::{GithubKeys, LeakReports}, webhook::WebhookSecret};
///
/// fn app(manager: &KeyManager, github: &GithubKeys, own: WebhookSecret, api: Router) -> Router {
///     let reports = LeakReports::new(manager).github(github).shared_secret(own);
///     api.nest("/leaks", reports.router())
/// }
/// ```
///
/// Clones share the limit of tokens that are handled at a time.
#[derive(Clone)]
#[must_use = "it takes no reports until its router is served"]
pub struct LeakReports {
    handler: Handler,
    github: Option<GithubKeys>,
    secrets: Vec<WebhookSecret>,
}

/// The longest body of a report.
const MAX_BODY: usize = 1024 * 1024;

// === impl LeakReports ===

impl LeakReports {
    /// Takes reports of this manager's keys. Without [`github`](Self::github) and
    /// [`shared_secret`](Self::shared_secret), it has no routes.
    pub fn new(manager: &KeyManager) -> Self {
        Self { handler: Handler::new(manager), github: None, secrets: Vec::new() }
    }

    /// Sets what is done with a reported key (default: it is revoked).
    ///
    /// ```
    /// use tower_api_key::{KeyManager, leak::LeakReports, manage::LeakAction};
    ///
    /// fn reports(manager: &KeyManager) -> LeakReports {
    ///     LeakReports::new(manager).action(LeakAction::Disable)
    /// }
    /// ```
    pub fn action(mut self, action: LeakAction) -> Self {
        self.handler = self.handler.with_action(action);
        self
    }

    /// Adds `POST /github`, for reports that GitHub has signed with one of these keys.
    pub fn github(mut self, keys: &GithubKeys) -> Self {
        self.github = Some(keys.clone());
        self
    }

    /// Adds `POST /reports`, for reports that are signed with this secret. A second call adds
    /// another secret, for the time in which a sender changes from one to the other.
    pub fn shared_secret(mut self, secret: WebhookSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Returns the router.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let mut router = Router::new();
        if let Some(keys) = &self.github {
            router = router.route("/github", self.receives(Sender::Github(keys.clone())));
        }
        if !self.secrets.is_empty() {
            router = router.route("/reports", self.receives(Sender::Secrets(self.secrets.clone())));
        }
        router
    }

    fn receives<S: Clone + Send + Sync + 'static>(&self, sender: Sender) -> MethodRouter<S> {
        let (handler, sender) = (self.handler.clone(), Arc::new(sender));
        let receive = move |request: Request| async move { handler.receive(&sender, request).await };
        post(receive).layer(DefaultBodyLimit::max(MAX_BODY))
    }
}

impl fmt::Debug for LeakReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("LeakReports");
        shown.field("github", &self.github).field("secrets", &self.secrets).finish_non_exhaustive()
    }
}
