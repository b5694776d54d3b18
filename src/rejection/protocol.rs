//! The protocol in which a caller is refused: HTTP, or gRPC over it where a layer serves it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, TE},
    response::Parts,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Problem;
use crate::scheme::SchemePolicy;

/// How a request is refused. Only a layer that serves gRPC refuses otherwise than by an HTTP
/// status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseProtocol {
    Http,
    /// A HEAD, which gets everything but the body.
    HttpHead,
    /// A gRPC client of a layer that does not serve gRPC. It maps the HTTP status, and tonic's
    /// reads a body as a message: it gets none.
    HttpBodiless,
    Grpc,
    /// gRPC as browsers speak it.
    GrpcWeb,
}

impl ResponseProtocol {
    /// The dialect of a request to a layer, which serves gRPC or not.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, serves_grpc: bool) -> Self {
        match *method {
            Method::HEAD => Self::HttpHead,
            Method::POST => Self::of_post(headers, serves_grpc),
            _ => Self::Http,
        }
    }

    pub(crate) const fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }

    /// The content type of a gRPC response.
    pub(super) const fn grpc_media_type(self) -> Option<&'static str> {
        match self {
            Self::Http | Self::HttpHead | Self::HttpBodiless => None,
            Self::Grpc => Some("application/grpc"),
            Self::GrpcWeb => Some("application/grpc-web"),
        }
    }

    fn of_post(headers: &HeaderMap, serves_grpc: bool) -> Self {
        let media_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let begins_with = |prefix: &str| {
            media_type.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        if !begins_with("application/grpc") {
            Self::Http
        } else if !serves_grpc {
            // What every gRPC client sends (gRPC over HTTP/2, "Requests").
            let expects_trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
            if expects_trailers { Self::HttpBodiless } else { Self::Http }
        } else if begins_with("application/grpc-web") {
            Self::GrpcWeb
        } else {
            Self::Grpc
        }
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What a `grpc-message` does not carry as it is: all but printable ASCII, and the sign of the
/// encoding itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Makes `parts` a response that is nothing but trailers (gRPC over HTTP/2, "Trailers-Only").
pub(super) fn write_grpc(problem: Problem, message: HeaderValue, media_type: &'static str, parts: &mut Parts) {
    parts.status = StatusCode::OK;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    parts.headers.insert(GRPC_STATUS, HeaderValue::from(problem.grpc_status()));
    parts.headers.insert(GRPC_MESSAGE, message);
}

/// A sentence as a `grpc-message`.
pub(super) fn message(sentence: &str, problem: Problem) -> HeaderValue {
    let encoded = utf8_percent_encode(sentence, ENCODED).to_string();
    HeaderValue::from_str(&encoded).unwrap_or(HeaderValue::from_static(problem.detail()))
}

/// The message for a gRPC caller without a key, which sees no challenge.
pub(super) fn missing_key_message(policy: &SchemePolicy) -> HeaderValue {
    let places: Vec<String> = policy.advertised().map(ToString::to_string).collect();
    let message = format!("{}. Send it by {}.", Problem::MissingKey.title(), places.join(" or "));
    self::message(&message, Problem::MissingKey)
}
