//! What the routers of the management API serve beside the keys.

use axum::{Router, routing::get};

use super::own;
#[cfg(feature = "limits")]
use super::top_ups;
#[cfg(feature = "webhooks")]
use super::webhooks;
use crate::manage::{KeyManager, KeyManagerBuilder};
#[cfg(feature = "webhooks")]
use crate::webhook::WebhookDeliverer;

#[derive(Clone)]
pub(in crate::manage) struct HttpSettings {
    pub(in crate::manage) serves_self: bool,
    /// Whether the layer in front renders its rejections as problem+json.
    pub(super) rejections_are_problems: bool,
    /// Whether limits may reject a request.
    pub(in crate::manage) is_limited: bool,
    #[cfg(feature = "webhooks")]
    pub(super) webhooks: Option<WebhookDeliverer>,
}

// === impl HttpSettings ===

impl HttpSettings {
    /// Returns the routes that the settings switch on.
    pub(super) fn routes(&self) -> Router<KeyManager> {
        let own = Router::new().route("/self", get(own::show_self).delete(own::revoke_self));
        let routes = if self.serves_self { own } else { Router::new() };
        #[cfg(feature = "limits")]
        let routes = if self.is_limited { routes.merge(top_ups::routes()) } else { routes };
        #[cfg(feature = "webhooks")]
        if self.webhooks.is_some() {
            return routes.merge(webhooks::routes());
        }
        routes
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            serves_self: true,
            rejections_are_problems: true,
            is_limited: false,
            #[cfg(feature = "webhooks")]
            webhooks: None,
        }
    }
}

// === impl KeyManagerBuilder ===

impl KeyManagerBuilder {
    /// Sets whether the OpenAPI document of the management API describes the body of a 401, a 403
    /// and a 429 as a problem (RFC 9457). By default it does, as a layer renders its rejections.
    ///
    /// Pass `false` if the layer in front of the API has another
    /// [`rejection_format`](crate::layer::ApiKeyLayerBuilder::rejection_format). The document then
    /// describes no body of these responses, and a generated client does not parse it.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, RejectionFormat, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let format = KeyFormat::new("acme")?;
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).rejections_are_problems(false).build()?;
    /// let auth = manager.layer().rejection_format(RejectionFormat::text()).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rejections_are_problems(mut self, are_problems: bool) -> Self {
        self.http.rejections_are_problems = are_problems;
        self
    }
}
