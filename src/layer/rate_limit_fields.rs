//! The setting of the fields with the limits of a caller, and where a response gets them.

use http::HeaderMap;

#[cfg(feature = "limits")]
use super::ApiKeyLayerBuilder;
use super::admit::Authenticator;
#[cfg(feature = "limits")]
use crate::limit::RateLimitFields;
use crate::{
    principal::Principal,
    record::KeyRecord,
    rejection::{Rejection, ResponseProtocol},
};

#[cfg(feature = "limits")]
impl ApiKeyLayerBuilder {
    /// Sends the limits of the key and what is left of them, in the response fields
    /// `RateLimit-Policy` and `RateLimit`. They are [off](RateLimitFields::Off) by default. Without
    /// [`limits`](Self::limits) there are none.
    ///
    /// What is left is read when the response is ready, so that it includes what the handler has
    /// charged. For a limit that several keys [share](crate::limit::Limit::shared_by), only a key
    /// with the permission `limits: read` sees what is left; every key sees its name and number.
    /// A gRPC response has no such fields: its client reads when to retry from the details of the
    /// status. A limit for routes is only in the fields of the 429 of that limit. The fields of the
    /// service stay beside those of the layer.
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

#[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unused_self))]
impl Authenticator {
    /// Returns the record of an accepted key, if the response has its limits.
    #[inline]
    pub(super) fn limited(&self, principal: &Principal) -> Option<KeyRecord> {
        #[cfg(feature = "limits")]
        if self.limits.is_some() && matches!(self.rate_limit_fields, RateLimitFields::Always(_)) {
            return Some(principal.record().clone());
        }
        None
    }

    /// Adds the limits of the key to the response to a rejected request. `limited` is the record of
    /// the key, if the layer has accepted it and adds its limits to every response.
    pub(super) fn add_limits(
        &self,
        rejection: &Rejection,
        limited: Option<&KeyRecord>,
        protocol: ResponseProtocol,
        to: &mut HeaderMap,
    ) {
        #[cfg(feature = "limits")]
        if let Some(record) = limited.or_else(|| rejection.record().filter(|_| rejection.reason().is_of_limit()))
            && !protocol.is_grpc()
        {
            self.write_limits(record, Some(rejection), to);
        }
    }

    pub(super) fn write_limits(&self, record: &KeyRecord, rejection: Option<&Rejection>, to: &mut HeaderMap) {
        #[cfg(feature = "limits")]
        if let (Some(limits), RateLimitFields::OnRefusal(form) | RateLimitFields::Always(form)) =
            (&self.limits, self.rate_limit_fields)
        {
            limits.write_fields(form, record, rejection, to);
        }
    }
}
