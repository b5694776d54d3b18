//! Extractors of JSON bodies and query strings, with errors as problems that never repeat a value.

use axum::{
    extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts},
};
use bytes::Bytes;
use http_body::Body as _;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::error::Category;

use super::{extract::ApiError, members::Members};
use crate::manage::wiped::WipedBytes;

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// The text of a JSON body, to parse in place. It is wiped when it is dropped, since it may hold
/// the text of a key.
pub(super) struct BodyText(WipedBytes);

/// A query string.
pub(super) struct QueryParams<T>(pub(super) T);

/// The parameters of a query string.
pub(super) trait QueryString: Sized {
    /// Parses a query string. The error names the parameter, never its value.
    fn parse(query: &str) -> Result<Self, String>;
}

const NOT_AN_OBJECT: &str = "The body must be a JSON object.";

impl<S: Send + Sync, T: DeserializeOwned + Members> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        BodyText::from_request(request, state).await?.parsed().map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for BodyText {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(ApiError::problem(
                status,
                "The body must be application/json, for PATCH also application/merge-patch+json.",
            ));
        }
        let body = Bytes::from_request(request, state).await;
        body.map(|body| Self(WipedBytes(body)))
            .map_err(|rejection| ApiError::problem(rejection.status(), "The body is too large or incomplete."))
    }
}

impl BodyText {
    /// Parses the body. The error describes what is wrong without repeating a part of the body.
    pub(super) fn parsed<'b, T: Deserialize<'b> + Members>(&'b self) -> Result<T, ApiError> {
        parse(&self.0.0).map_err(|(status, detail)| ApiError::problem(status, &detail))
    }
}

/// Accepts an empty body as `None`. Any other body must be JSON.
impl<S: Send + Sync, T: DeserializeOwned + Members> OptionalFromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        let may_be_none = !request.headers().contains_key(CONTENT_TYPE) || is_json(request.headers());
        if may_be_none && request.body().size_hint().exact() == Some(0) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

impl<S: Sync, T: QueryString> FromRequestParts<S> for QueryParams<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = T::parse(parts.uri.query().unwrap_or_default());
        query.map(Self).map_err(|detail| ApiError::problem(StatusCode::BAD_REQUEST, &detail))
    }
}

/// Parses an object. The error has a status and a sentence.
pub(super) fn parse<'b, T: Deserialize<'b> + Members>(body: &'b [u8]) -> Result<T, (StatusCode, String)> {
    // serde also deserializes a struct from a list of values.
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let member = error.path().iter().next().map(ToString::to_string).unwrap_or_default();
        (member, error.into_inner())
    });
    let read = read.and_then(|body| json.end().map(|()| body).map_err(|error| (String::new(), error)));
    let unprocessable = |detail: &str| (StatusCode::UNPROCESSABLE_ENTITY, detail.to_owned());
    let (member, error) = match read {
        Ok(body) if is_object => return Ok(body),
        Ok(_) => return Err(unprocessable(NOT_AN_OBJECT)),
        Err(wrong) => wrong,
    };
    // serde_json classifies some valid JSON as a syntax error, such as half of a surrogate pair.
    let is_json = error.classify() == Category::Data || serde_json::from_slice::<IgnoredAny>(body).is_ok();
    if !is_json {
        let (line, column) = (error.line(), error.column());
        let detail = format!("The body is not valid JSON: line {line}, column {column}.");
        return Err((StatusCode::BAD_REQUEST, detail));
    }
    if !is_object {
        return Err(unprocessable(NOT_AN_OBJECT));
    }
    if T::MEMBERS.iter().any(|(name, _)| *name == member) {
        return Err(unprocessable(&requirement::<T>(&member)));
    }
    let text = error.to_string();
    let about = |begin: &str| T::MEMBERS.iter().find(|(name, _)| text.starts_with(&format!("{begin} `{name}`")));
    let names: Vec<&str> = T::MEMBERS.iter().map(|(name, _)| *name).collect();
    Err(unprocessable(&match (about("missing field"), about("duplicate field")) {
        (Some((name, requirement)), _) => format!("{name}: missing; {requirement}."),
        (None, Some((name, _))) => format!("{name}: given twice."),
        (None, None) if text.starts_with("unknown field") => {
            match T::FIXED.iter().find(|name| text.starts_with(&format!("unknown field `{name}`"))) {
                Some(name) => format!("{name}: cannot be changed: issue a new key."),
                None => format!("Unknown member: use {}.", names.join(", ")),
            }
        }
        (None, None) => NOT_AN_OBJECT.to_owned(),
    }))
}

/// Returns the error for an invalid member, with its requirement.
pub(super) fn invalid<T: Members>(member: &str) -> ApiError {
    ApiError::problem(StatusCode::UNPROCESSABLE_ENTITY, &requirement::<T>(member))
}

/// Returns the requirement of a member, as a sentence.
pub(super) fn requirement<T: Members>(member: &str) -> String {
    let known = T::MEMBERS.iter().find(|(name, _)| *name == member);
    known.map_or_else(String::new, |(name, requirement)| format!("{name}: {requirement}."))
}

/// Returns whether the body is `application/json`, or another type in JSON (RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}
