//! What the routers of the management API serve beside the keys.

use axum::{Router, routing::get};

use super::own;
#[cfg(feature = "limits")]
use super::top_ups;
#[cfg(feature = "webhooks")]
use super::webhooks;
use crate::manage::KeyManager;
#[cfg(feature = "webhooks")]
use crate::webhook::WebhookDeliverer;

#[derive(Clone)]
pub(in crate::manage) struct HttpSettings {
    pub(in crate::manage) serves_self: bool,
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
            is_limited: false,
            #[cfg(feature = "webhooks")]
            webhooks: None,
        }
    }
}
