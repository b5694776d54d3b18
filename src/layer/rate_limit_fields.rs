//! The setting of the fields that tell a caller about its limits.

use super::ApiKeyLayerBuilder;
use crate::limit::RateLimitFields;

impl ApiKeyLayerBuilder {
    /// Sends the limits of the key and what is left of them, in the response fields
    /// `RateLimit-Policy` and `RateLimit`. They are [off](RateLimitFields::Off) by default. Without
    /// [`limits`](Self::limits) there are none.
    ///
    /// What is left is read when the response is ready, so that it includes what the handler has
    /// charged. For a limit that several keys [share](crate::limit::Limit::shared_by), only a key
    /// with the permission `limits: read` sees what is left; every key sees its name and its number.
    /// A gRPC response has no such fields: its client reads when to retry from the details of the
    /// status.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, limit::{FieldsForm, RateLimitFields}, store::MemoryStore};
    ///
    /// let layer = ApiKeyLayer::builder(MemoryStore::new())
    ///     .rate_limit_fields(RateLimitFields::Always(FieldsForm::Draft11))
    ///     .build();
    /// assert!(layer.is_ok());
    /// ```
    pub fn rate_limit_fields(mut self, fields: RateLimitFields) -> Self {
        self.rate_limit_fields = fields;
        self
    }
}
