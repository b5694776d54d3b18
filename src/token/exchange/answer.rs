//! The answer with a token (RFC 8693 §2.2.1).

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    form::{ACCESS_TOKEN, Scope},
    refusal::Refusal,
};
use crate::token::IssuedToken;

/// A token, and the scope that was asked for, which it has.
pub(super) struct Granted {
    pub(super) issued: IssuedToken,
    pub(super) scope: Option<Scope>,
}

#[derive(Serialize)]
struct Body<'g> {
    access_token: &'g str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'g str>,
}

/// More than the bytes of an answer without its token and its scope.
const MEMBERS: usize = 256;

impl IntoResponse for Granted {
    fn into_response(self) -> Response {
        let (token, scope) = (self.issued.text().expose(), self.scope.as_ref().map(Scope::as_str));
        // No byte of a token or a scope is escaped in JSON. A buffer that grows would leave a copy
        // of the token behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MEMBERS + token.len() + scope.map_or(0, str::len)));
        let body = Body {
            access_token: token,
            issued_token_type: ACCESS_TOKEN,
            token_type: "Bearer",
            expires_in: self.issued.seconds(),
            scope,
        };
        if serde_json::to_writer(&mut *text, &body).is_err() {
            return Refusal::unwritten().into_response();
        }
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (json, Bytes::from_owner(text)).into_response()
    }
}
