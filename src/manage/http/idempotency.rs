//! The header `Idempotency-Key` of a request that issues a key.

use axum::{extract::FromRequestParts, http::request::Parts};

use utoipa::IntoParams;

use super::extract::ApiError;
use crate::manage::{Actor, ManageError, idempotency::is_valid};

/// Extracts the idempotency key of a request, if it has one. A malformed or repeated header is
/// rejected.
pub(super) struct RequestIdempotencyKey(Option<String>);

/// Describes the header in the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct IdempotencyHeader {
    /// Makes the request safe to repeat: requests with the same value issue at most one key. The
    /// value is in double quotes. Without them, it has no space, quote, backslash, comma or
    /// semicolon.
    #[param(rename = "Idempotency-Key", value_type = String, required = false, example = "\"order 1817\"",
        pattern = r#"^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--:<-\[\]-~]{1,255})$"#)]
    idempotency_key: Option<String>,
}

const HEADER: &str = "idempotency-key";

// === impl RequestIdempotencyKey ===

impl RequestIdempotencyKey {
    /// Returns the actor with this idempotency key.
    pub(super) fn of(self, actor: &Actor) -> Actor {
        match self.0 {
            Some(key) => actor.clone().with_idempotency_key(key),
            None => actor.clone(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for RequestIdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let key = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(parse),
            (None, _) | (Some(_), Some(_)) => None,
        };
        if key.is_none() && parts.headers.contains_key(HEADER) {
            return Err(ApiError::from(ManageError::IdempotencyKey));
        }
        Ok(Self(key))
    }
}

/// Parses a string of a structured field (RFC 9651 §3.3.3), without parameters. Many clients omit
/// the quotes: then the value has no space, quote, backslash, comma or semicolon.
fn parse(value: &str) -> Option<String> {
    let value = value.trim_matches(' ');
    let key = match value.strip_prefix('"') {
        Some(quoted) => unescaped(quoted.strip_suffix('"')?)?,
        None => Some(value).filter(|bare| !bare.contains([' ', '"', '\\', ',', ';']))?.to_owned(),
    };
    is_valid(&key).then_some(key)
}

fn unescaped(quoted: &str) -> Option<String> {
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(next) = rest.next() {
        text.push(match next {
            '\\' => rest.next().filter(|escaped| ['"', '\\'].contains(escaped))?,
            '"' => return None,
            other => other,
        });
    }
    Some(text)
}
