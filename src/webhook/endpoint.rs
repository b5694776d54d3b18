//! An endpoint: where to send events, and how to sign them.

use std::fmt;

use http::Uri;

use super::WebhookSecret;
use crate::event::KeyEvent;

/// An endpoint that receives events.
///
/// ```
/// use tower_api_key::webhook::Webhook;
///
/// let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let audit = Webhook::new("audit", "https://audit.example/keys".parse()?, secret).organization("acme");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Take the URL from your configuration. If users may choose it, your sender must reject addresses
/// of your own network. `Debug` shows neither the URL nor the secrets.
#[derive(Clone)]
#[must_use = "it only describes an endpoint: pass it to a WebhookDeliverer"]
pub struct Webhook {
    pub(super) id: String,
    pub(super) url: Uri,
    pub(super) secrets: Vec<WebhookSecret>,
    pub(super) organization: Option<String>,
}

// === impl Webhook ===

impl Webhook {
    /// Describes an endpoint. The store keeps its deliveries under `id`, so keep the id when the
    /// URL changes. A new id receives the events from now on.
    pub fn new(id: impl Into<String>, url: Uri, secret: WebhookSecret) -> Self {
        Self { id: id.into(), url, secrets: vec![secret], organization: None }
    }

    /// Signs with this secret too, while a receiver changes from one secret to the other.
    pub fn also_sign_with(mut self, secret: WebhookSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Sends only the events of this organization. By default it sends those of all.
    pub fn organization(mut self, organization: impl Into<String>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    pub(super) fn receives(&self, event: &KeyEvent) -> bool {
        self.organization.is_none() || self.organization.as_deref() == event.organization()
    }
}

/// Without the URL, which may contain a password or a token.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Webhook");
        shown.field("id", &self.id).field("organization", &self.organization).finish_non_exhaustive()
    }
}
