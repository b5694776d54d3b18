//! Webhooks: sends each event to HTTP endpoints, signed as
//! [Standard Webhooks](https://www.standardwebhooks.com) specifies.
//!
//! | header              | value                                                                   |
//! |---------------------|-------------------------------------------------------------------------|
//! | `webhook-id`        | the same in each attempt: a receiver ignores an id that it has seen     |
//! | `webhook-timestamp` | the time of this attempt, in seconds since 1970                         |
//! | `webhook-signature` | `v1,` and the HMAC-SHA-256 of id, timestamp and body; one for each secret |
//!
//! The body is JSON, and its `data` an [`EventView`](crate::manage::EventView):
//!
//! ```json
//! {"type": "api_key.revoked", "timestamp": "2027-01-15T08:00:00Z", "data": {"kind": "revoked", …}}
//! ```
//!
//! A [`WebhookDeliverer`] takes the events from the store, so that it also sends those of other
//! nodes and of manual SQL. Each event is sent at least once. A failed attempt is repeated with
//! growing delays; after 24 hours the delivery is a dead letter, which the store keeps.
//!
//! The order is not guaranteed: an event that is repeated arrives after later ones. Compare the
//! version of the key.

mod body;
mod builder;
mod deliverer;
mod endpoint;
mod retry;
mod secret;
mod sender;
mod store;

pub use builder::WebhookDelivererBuilder;
pub use deliverer::{DeliveryReport, WebhookDeliverer, WebhookError};
pub use endpoint::Webhook;
pub use secret::{InvalidSecret, WebhookSecret};
pub use sender::WebhookSender;
pub use store::{WebhookDelivery, WebhookOutcome, WebhookStore};
