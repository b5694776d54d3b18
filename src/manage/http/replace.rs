//! Replaces many keys, and streams the new keys as lines of JSON.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body as ResponseBody,
    extract::State,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::Frame;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    bodies::{ChangeReason, MAX_GRACE},
    bulk::{FILTER, Filter, SWITCH},
    extract::{ApiError, CanUpdate, RequestActor},
    members::{Members, REASON, TIME},
    parse::{Body, invalid},
    presence::present,
    responses::{IssuedKey, written},
    time::present_time,
};
use crate::manage::{Issued, KeyManager, ManageError, NotReplaced, Replacements, Rotation};

/// A replacement of all keys that the filter matches, each with a grace period.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceKeys {
    filter: Filter,
    /// Permits a filter without a condition, which matches every key that the caller sees.
    #[serde(default)]
    all: bool,
    /// How long both keys work, at most 90 days. An old key may expire earlier, at its own expiry.
    #[schema(maximum = 7_776_000)]
    grace_seconds: u32,
    /// The expiry of the new keys. The default is that of each old key.
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    expires_at: Option<Timestamp>,
    /// Why the keys are replaced.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = ChangeReason, required = false)]
    reason: Option<ChangeReason>,
}

/// The line of a key that was not replaced.
#[derive(Serialize, ToSchema)]
#[schema(as = NotReplaced)]
pub(super) struct NotReplacedLine {
    /// The id of the key; `null` if the keys could not be read. This line is then the last one.
    id: Option<String>,
    status: u16,
    /// A sentence that says why the key was not replaced.
    detail: String,
}

#[utoipa::path(post, path = "/rotate", tag = "many keys", request_body = ReplaceKeys, responses(
    (status = 200, description = "One line of JSON for each key: an `IssuedKey`, or a `NotReplaced`, which says why it was not replaced. A key is replaced when its line is sent, and no later response contains the text", body = String, content_type = "application/x-ndjson"),
))]
pub(super) async fn replace_keys(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanUpdate>,
    Body(mut body): Body<ReplaceKeys>,
) -> Result<Response, ApiError> {
    if body.grace_seconds > MAX_GRACE {
        return Err(invalid::<ReplaceKeys>("grace_seconds"));
    }
    let caller = caller.because(body.reason.take());
    let mut rotation = Rotation::grace_period(Duration::from_secs(body.grace_seconds.into()));
    if let Some(instant) = body.expires_at {
        rotation = rotation.expires_at(instant.into());
    }
    let filter = body.filter.into_filter();
    if !body.all && !filter.has_condition() {
        return Err(caller.error(ManageError::EmptyFilter));
    }
    let replacements = caller.map_err(manager.replace_all(caller.actor(), filter, rotation).await)?;
    let lines = Lines { manager, next: Box::pin(next(replacements)) };
    let ndjson = [(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
    Ok((ndjson, ResponseBody::new(lines)).into_response())
}

/// The body of the response. It replaces the next key when the connection requests the next line.
struct Lines {
    manager: KeyManager,
    next: Pin<Box<dyn Future<Output = Next> + Send>>,
}

type Next = (Replacements, Option<Result<Issued, NotReplaced>>);

async fn next(mut replacements: Replacements) -> Next {
    let replaced = replacements.next().await;
    (replacements, replaced)
}

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (replacements, replaced) = ready!(self.next.as_mut().poll(context));
        self.next = Box::pin(next(replacements));
        Poll::Ready(replaced.map(|replaced| Ok(Frame::data(line(replaced, &self.manager)))))
    }
}

fn line(replaced: Result<Issued, NotReplaced>, manager: &KeyManager) -> Bytes {
    match replaced {
        Ok(issued) => written(&IssuedKey::new(&issued, manager.validity()), b"\n").unwrap_or_default(),
        Err(NotReplaced { id, error }) => {
            let id = id.as_ref().map(ToString::to_string);
            let line = NotReplacedLine { id, status: error.status().as_u16(), detail: error.detail() };
            written(&line, b"\n").unwrap_or_default()
        }
    }
}

impl Members for ReplaceKeys {
    const MEMBERS: &[(&str, &str)] = &[
        ("filter", FILTER),
        ("all", SWITCH),
        ("grace_seconds", "must be a whole number from 0 to 7776000 (90 days)"),
        ("expires_at", TIME),
        ("reason", REASON),
    ];
}
