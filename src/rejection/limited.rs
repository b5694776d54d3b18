//! Rejections because a limit of the key's plan is full.

use std::sync::Arc;
#[cfg(feature = "limits")]
use std::time::Duration;

#[cfg(feature = "limits")]
use super::Reason;
use super::Rejection;

/// The sentence for a request that no waiting helps.
#[cfg(feature = "limits")]
const NEVER_PASSES: &str = "This request can never pass: the limit of the API key is 0, or the request costs more.";

impl Rejection {
    /// Returns a rejection with 429, for limits with these names that are full. `after` is the time
    /// after which the request passes, and `None` if it never does. It is 0 for limits that know no
    /// time, such as one on requests at the same time: the client waits one second.
    #[cfg(feature = "limits")]
    pub(crate) fn limited(reason: Reason, violated: Arc<[Box<str>]>, after: Option<Duration>) -> Self {
        let mut rejection = Self::new(reason);
        let rare = rejection.rare.get_or_insert_default();
        rare.violated = Some(violated);
        rare.retry_after = after.map(|after| if after.is_zero() { Duration::from_secs(1) } else { after });
        if after.is_none() && !matches!(reason, Reason::CreditsExhausted | Reason::PaymentRequired) {
            rare.detail = Some(NEVER_PASSES.into());
        }
        rejection
    }

    /// Lets the client wait longer.
    #[cfg(feature = "limits")]
    pub(crate) fn delay(&mut self, longer: Duration) {
        if let Some(after) = self.rare.as_mut().and_then(|rare| rare.retry_after.as_mut()) {
            *after = after.saturating_add(longer);
        }
    }

    /// Returns the names of the limits that rejected the request. A custom format may send them.
    ///
    /// The names are those of the key's plan. The response of the built-in problem+json has them in
    /// the member `violated-policies`.
    ///
    /// ```
    /// use http::Response;
    /// use tower_api_key::RejectionFormat;
    ///
    /// let format = RejectionFormat::custom(|rejection| {
    ///     let limits: Vec<&str> = rejection.violated_limits().collect();
    ///     Response::new(format!("{} {}", rejection.detail(), limits.join(", ")))
    /// });
    /// ```
    pub fn violated_limits(&self) -> impl Iterator<Item = &str> {
        self.violated().iter().map(|name| &**name)
    }

    pub(super) fn violated(&self) -> &[Box<str>] {
        self.rare.as_ref().and_then(|rare| rare.violated.as_deref()).unwrap_or_default()
    }

    /// Returns the names of [`violated_limits`](Self::violated_limits), to keep them.
    pub(crate) fn shared_violated(&self) -> Option<&Arc<[Box<str>]>> {
        self.rare.as_ref()?.violated.as_ref()
    }
}
