//! Selects the protocol of a rejection: HTTP, or gRPC if the layer serves it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, TE},
    response::Parts,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Problem;

/// The protocol of a rejection. Without `grpc` on the layer it is one of the HTTP variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseProtocol {
    Http,
    /// A HEAD, which gets everything but the body.
    HttpHead,
    /// A gRPC client of a layer without `grpc`. The client maps the HTTP status. The response has
    /// no body, because tonic would read it as a message.
    HttpBodiless,
    Grpc,
    /// The gRPC dialect of browsers.
    GrpcWeb,
}

impl ResponseProtocol {
    /// Returns the protocol for a rejection of this request. `serves_grpc` is the setting of the
    /// layer.
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

    /// Returns the content type of a gRPC response.
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
            // Every gRPC client sends this header (gRPC over HTTP/2, "Requests").
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
pub(super) const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The characters that are percent-encoded in a `grpc-message`: all but printable ASCII, and the
/// percent sign.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Turns `parts` into a response that has only trailers (gRPC over HTTP/2, "Trailers-Only").
pub(super) fn write_grpc(problem: Problem, message: HeaderValue, media_type: &'static str, parts: &mut Parts) {
    parts.status = StatusCode::OK;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    parts.headers.insert(GRPC_STATUS, HeaderValue::from(problem.grpc_status()));
    parts.headers.insert(GRPC_MESSAGE, message);
}

/// Encodes a sentence as a `grpc-message`.
pub(super) fn message(sentence: &str, problem: Problem) -> HeaderValue {
    let encoded = utf8_percent_encode(sentence, ENCODED).to_string();
    HeaderValue::from_str(&encoded).unwrap_or(HeaderValue::from_static(problem.detail()))
}
