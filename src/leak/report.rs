//! The body of a report, and of its answer. Neither this module nor its errors show a token.

use std::fmt::Write;

use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::{key::sha256, manage::Leak};

/// A token of a report, in the form of GitHub's partner program.
#[derive(Deserialize)]
pub(super) struct Reported {
    #[serde(deserialize_with = "secret")]
    pub(super) token: Zeroizing<String>,
    r#type: Option<String>,
    url: Option<String>,
    source: Option<String>,
}

/// The answer for one token.
#[derive(Serialize)]
pub(super) struct Feedback {
    /// The SHA-256 of the token, so that the answer has no key.
    token_hash: String,
    token_type: String,
    label: Label,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Label {
    TruePositive,
    FalsePositive,
}

/// The most tokens of a report.
const MAX_TOKENS: usize = 1_000;

/// The longest type that an answer repeats, in bytes.
const MAX_TYPE: usize = 100;

/// A shorter token may be a part of a type by chance.
const SHORTEST_PART: usize = 8;

/// Parses the tokens of a body. The error has a status and a sentence, and repeats nothing of it.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Reported>, (StatusCode, &'static str)> {
    let tokens: Vec<Reported> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => (StatusCode::UNPROCESSABLE_ENTITY, "The body must be a list of objects with a token."),
        _ => (StatusCode::BAD_REQUEST, "The body is not valid JSON."),
    })?;
    if tokens.len() > MAX_TOKENS {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, "A report has at most 1000 tokens."));
    }
    Ok(tokens)
}

// === impl Reported ===

impl Reported {
    /// Returns the SHA-256 of the token, in hexadecimal digits.
    pub(super) fn hash(&self) -> String {
        sha256(self.token.as_bytes()).iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Returns where the token was found.
    pub(super) fn leak(&self) -> Leak {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Leak::new(text(&self.source)).with_url(text(&self.url))
    }

    /// Returns the answer for this token.
    pub(super) fn feedback(self, label: Label) -> Feedback {
        let token = self.token.as_str();
        let shows = |text: &str| text == token || (token.len() >= SHORTEST_PART && text.contains(token));
        let is_good = |text: &String| (1..=MAX_TYPE).contains(&text.len()) && !shows(text);
        let token_hash = self.hash();
        let token_type = self.r#type.filter(is_good).unwrap_or_else(|| "unknown".to_owned());
        Feedback { token_hash, token_type, label }
    }
}

/// Deserializes a token, which is wiped when it is dropped.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}
