//! The secret of an endpoint, and the signature of a request.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key::Hmac;

/// The secret that signs the requests to an endpoint. `Debug` does not show it.
///
/// ```
/// use tower_api_key::webhook::{InvalidSecret, WebhookSecret};
///
/// let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
/// assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
/// # Ok::<(), InvalidSecret>(())
/// ```
#[derive(Clone)]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

/// The error of a text that is no webhook secret.
///
/// ```
/// use tower_api_key::webhook::{InvalidSecret, WebhookSecret};
///
/// let error: InvalidSecret = "secret".parse::<WebhookSecret>().unwrap_err();
/// assert!(error.to_string().starts_with("a webhook secret is `whsec_` and 24 to 64 bytes"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a webhook secret is `whsec_` and 24 to 64 bytes in base64: make one with `openssl rand -base64 32`")]
#[non_exhaustive]
pub struct InvalidSecret;

// === impl WebhookSecret ===

impl WebhookSecret {
    /// Returns the signature of one attempt, as the header `webhook-signature` has it. `timestamp`
    /// is in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut message = format!("{id}.{timestamp}.").into_bytes();
        message.extend_from_slice(body);
        format!("v1,{}", STANDARD.encode(Hmac::new(&self.0).digest(&Hmac::padded(&message))))
    }

    /// Returns whether the value of a header `webhook-signature` has a signature of this secret.
    /// For receivers in Rust. It compares in constant time.
    ///
    /// A receiver also compares the timestamp with its clock; otherwise it accepts an old request
    /// that is sent again.
    ///
    /// ```
    /// # use tower_api_key::webhook::{InvalidSecret, WebhookSecret};
    /// let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
    /// let signatures = "v1,bm90IHRoaXMgc2VjcmV0IG5vdCB0aGlzIHNlY3JldCE= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    /// let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
    /// assert!(secret.verifies(id, 1_614_265_330, body, signatures));
    /// assert!(!secret.verifies(id, 1_614_265_331, body, signatures));
    /// # Ok::<(), InvalidSecret>(())
    /// ```
    pub fn verifies(&self, id: &str, timestamp: u64, body: &[u8], signatures: &str) -> bool {
        let expected = self.sign(id, timestamp, body);
        signatures.split(' ').any(|signature| signature.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

/// Parses `whsec_` and 24 to 64 bytes in base64.
impl std::str::FromStr for WebhookSecret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let secret = text.strip_prefix("whsec_").and_then(|secret| STANDARD.decode(secret).ok()).map(Zeroizing::new);
        secret.filter(|secret| (24..=64).contains(&secret.len())).map(Self).ok_or(InvalidSecret)
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}
