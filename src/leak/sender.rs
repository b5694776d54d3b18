//! The sender of a report: takes the headers of a request and the bytes of its body, and returns
//! whether the sender is genuine. It does not parse the body.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use p256::ecdsa::VerifyingKey;

use super::{
    GithubKeys,
    github::{self, BadSignature},
};
use crate::webhook::WebhookSecret;

/// The senders that a route accepts.
pub(super) enum Sender {
    Github(GithubKeys),
    /// Senders that have one of these secrets.
    Secrets(Vec<WebhookSecret>),
}

/// What the headers of a request claim. It is not verified before [`check`](Self::check).
pub(super) enum Claim<'s> {
    Github { key: VerifyingKey, signature: Vec<u8> },
    Secret { secrets: &'s [WebhookSecret], id: String, timestamp: u64, signatures: String },
}

/// Why the sender of a report is rejected. It is logged, and not returned to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotGenuine {
    /// A header is missing, given twice, or cannot be read.
    Headers,
    /// The timestamp is too far from the time of the manager's clock.
    Timestamp,
    Signature(BadSignature),
}

/// How far the timestamp of a report may be from the time of the manager's clock.
const TOLERANCE: Duration = Duration::from_secs(300);

/// The longest value of a header.
const MAX_VALUE: usize = 1_024;

// === impl Sender, Claim ===

impl Sender {
    /// Reads the headers. A request that cannot be genuine is rejected before its body is read.
    pub(super) fn claim(&self, headers: &HeaderMap, now: SystemTime) -> Result<Claim<'_>, NotGenuine> {
        match self {
            Self::Github(keys) => {
                let key = keys.find(text(headers, "github-public-key-identifier")?).map_err(NotGenuine::Signature)?;
                let signature = STANDARD.decode(text(headers, "github-public-key-signature")?);
                let signature = signature.map_err(|_| NotGenuine::Headers)?;
                Ok(Claim::Github { key, signature })
            }
            Self::Secrets(secrets) => {
                let timestamp = text(headers, "webhook-timestamp")?.parse().map_err(|_| NotGenuine::Headers)?;
                let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                if now.abs_diff(timestamp) > TOLERANCE.as_secs() {
                    return Err(NotGenuine::Timestamp);
                }
                let id = text(headers, "webhook-id")?.to_owned();
                let signatures = text(headers, "webhook-signature")?.to_owned();
                Ok(Claim::Secret { secrets, id, timestamp, signatures })
            }
        }
    }
}

impl Claim<'_> {
    /// Verifies the signature over the bytes of the body.
    pub(super) fn check(&self, body: &[u8]) -> Result<(), NotGenuine> {
        match self {
            Self::Github { key, signature } => github::check(key, body, signature).map_err(NotGenuine::Signature),
            Self::Secret { secrets, id, timestamp, signatures } => {
                let is_signed = secrets.iter().any(|secret| secret.verifies(id, *timestamp, body, signatures));
                if is_signed { Ok(()) } else { Err(NotGenuine::Signature(BadSignature::Wrong)) }
            }
        }
    }
}

impl fmt::Display for NotGenuine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headers => f.write_str("a header of its signature is missing or cannot be read"),
            Self::Timestamp => f.write_str("its timestamp is not of the last 5 minutes"),
            Self::Signature(bad) => bad.fmt(f),
        }
    }
}

/// Returns the value of a header that is given once.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, NotGenuine> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
    value.filter(|value| value.len() <= MAX_VALUE).ok_or(NotGenuine::Headers)
}
