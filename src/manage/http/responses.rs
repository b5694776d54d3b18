//! The bodies of responses.

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, ETAG},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{conditions::etag, extract::ApiError};
use crate::{
    manage::{EventPage, EventView, Issued, KeyView, Page},
    record::{KeyRecord, Validity},
};

/// A new key, with its plain text.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedKey<'i> {
    /// The plain text of the key. It is stored nowhere, and no later response contains it.
    key: &'i str,
    #[serde(flatten)]
    record: KeyView,
}

/// One page of keys.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyList {
    keys: Vec<KeyView>,
    /// The `cursor` of the next page; `null` on the last page.
    next: Option<String>,
}

/// One page of events, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct EventList {
    events: Vec<EventView>,
    /// The `cursor` of the next page; `null` on the last page.
    next: Option<String>,
}

/// The schema of an error (RFC 9457). `manage/problem.rs` writes it, and for a 401, a 403 and a 429
/// `rejection/format.rs`.
#[derive(ToSchema)]
#[schema(as = Problem, description = "An error (RFC 9457).")]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct ProblemBody {
    /// `about:blank`, if the problem has no meaning beyond that of its status; otherwise a URL.
    r#type: String,
    title: String,
    status: u16,
    /// A sentence that says what is wrong.
    detail: String,
    /// The id of the key that an earlier request with this `Idempotency-Key` has issued.
    #[schema(value_type = String, required = false)]
    key_id: Option<String>,
    /// What is wrong, for a program, such as `invalid_key`. Only a rejection of the layer has it: a
    /// 401, a 429, and a 403 that is not about the content of the request.
    #[schema(value_type = String, required = false)]
    code: Option<String>,
    /// The names of the limits that are full. Only a 429 has it.
    #[schema(rename = "violated-policies", value_type = Vec<String>, required = false)]
    violated_policies: Option<Vec<String>>,
}

impl<'i> IssuedKey<'i> {
    pub(super) fn new(issued: &'i Issued, validity: &Validity) -> Self {
        Self { key: issued.key().expose(), record: KeyView::new(issued.record(), validity) }
    }
}

impl KeyList {
    pub(super) fn new(page: &Page, validity: &Validity) -> Self {
        let keys = page.records.iter().map(|record| KeyView::new(record, validity)).collect();
        Self { keys, next: page.next.as_ref().map(ToString::to_string) }
    }
}

/// Returns a key, with its version as the entity tag.
pub(super) fn shown(record: &KeyRecord, validity: &Validity) -> Response {
    ([(ETAG, etag(record))], Json(KeyView::new(record, validity))).into_response()
}

impl From<&EventPage> for EventList {
    fn from(page: &EventPage) -> Self {
        Self { events: page.events.iter().map(EventView::from).collect(), next: page.next.clone() }
    }
}

/// Returns the response with the plain text of a key. The body is the last copy of the plain text,
/// and is wiped after it is sent.
pub(super) fn created(new: &Issued, validity: &Validity) -> Result<Response, ApiError> {
    let Some(text) = written(&IssuedKey::new(new, validity), b"") else {
        return Err(ApiError::problem(StatusCode::SERVICE_UNAVAILABLE, "The response could not be written."));
    };
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json")), (ETAG, etag(new.record()))];
    Ok((StatusCode::CREATED, json, text).into_response())
}

/// Returns the JSON of a value, followed by `end`. It is wiped after it is sent.
pub(super) fn written(value: &impl Serialize, end: &[u8]) -> Option<Bytes> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).ok()?;
    // Allocates the full length first, since a buffer that grows leaves a copy of its content
    // behind.
    let mut text = Zeroizing::new(Vec::with_capacity(length.0 + end.len()));
    serde_json::to_writer(&mut *text, value).ok()?;
    text.extend_from_slice(end);
    Some(Bytes::from_owner(text))
}

/// Counts the bytes that are written to it.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
