//! Renders every rejection as a response.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER},
    response::Parts,
};

use super::{
    Problem, Reason, Rejection, RejectionFormat,
    diagnosis_texts::DiagnosisTexts,
    format::{BuiltIn, FormatKind, RenderOnce},
    grpc_details::retry_info,
    missing::UNLISTED,
    prerendered::{Prerendered, respond},
    protocol::{GRPC_STATUS_DETAILS, ResponseProtocol, message, write_grpc},
};
use crate::{
    clock::whole_seconds,
    error::ConfigError,
    head::RequestHead,
    scheme::{Challenges, Scheme, SchemePolicy, Vary},
};

/// The format, and the headers and texts that all rejections of a layer share.
#[derive(Debug)]
pub(crate) struct Renderer {
    format: RejectionFormat,
    /// The format of `texts`: problem+json for a custom format.
    built_in: BuiltIn,
    challenges: Challenges,
    vary: Vary,
    /// The `grpc-message` of a request without a credential, made in advance.
    missing_key_message: HeaderValue,
    /// Whether every 403 has the same body and challenge.
    hides_details: bool,
    texts: DiagnosisTexts,
    prerendered: Prerendered,
}

impl Renderer {
    pub(crate) fn new(
        format: RejectionFormat,
        challenges: Challenges,
        policy: &SchemePolicy,
        max_key_len: usize,
    ) -> Result<Self, ConfigError> {
        format.check()?;
        let built_in = format.built_in();
        let texts = DiagnosisTexts::new(&built_in, policy, max_key_len);
        let renderer = Self {
            missing_key_message: message(&texts.missing_key(), Problem::MissingKey),
            texts,
            vary: Vary::new(policy),
            hides_details: false,
            prerendered: Prerendered::NONE,
            format,
            built_in,
            challenges,
        };
        let prerendered = match renderer.format.0 {
            FormatKind::BuiltIn(_) => Prerendered::new(&renderer),
            FormatKind::Custom(_) | FormatKind::CustomWith(_) => Prerendered::NONE,
        };
        Ok(Self { prerendered, ..renderer })
    }

    /// Sets whether every 403 has the same body.
    pub(crate) fn hiding_forbidden_details(self, hides_details: bool) -> Self {
        Self { hides_details, ..self }
    }

    /// Makes the bodies for limits of these names in advance, each with the problem that it leads
    /// to.
    #[cfg(feature = "limits")]
    pub(crate) fn foreseeing_limits<'l>(mut self, limits: impl IntoIterator<Item = (Problem, &'l str)>) -> Self {
        self.texts.foresee_limits(limits);
        self
    }

    /// Returns whether the rejection has a detail or a `scope` of its own.
    fn is_detailed(&self, rejection: &Rejection) -> bool {
        let has_detail = rejection.own_detail().is_some()
            || rejection.reason() == Reason::NoMatchingRoute
            || rejection.missing().is_some();
        has_detail && !self.hides(rejection)
    }

    fn hides(&self, rejection: &Rejection) -> bool {
        self.hides_details && rejection.reason().problem() == Problem::Forbidden
    }

    /// Returns the detail that replaces the problem's, and the `scope` of the challenge.
    fn details<'r>(&self, rejection: &'r Rejection) -> (Option<Cow<'r, str>>, Option<String>) {
        if self.hides(rejection) {
            return (None, None);
        }
        let missing = rejection.missing();
        let detail = match (rejection.own_detail(), rejection.reason()) {
            (Some(own), _) => Some(own.into()),
            (None, Reason::NoMatchingRoute) => Some(UNLISTED.into()),
            (None, _) => missing.and_then(|missing| missing.detail()).map(Cow::Owned),
        };
        (detail, missing.and_then(|missing| missing.scope()))
    }

    /// Returns the headers that every response of the layer depends on.
    pub(crate) fn vary(&self) -> &Vary {
        &self.vary
    }

    /// Returns whether the format captures values of the request.
    pub(crate) fn captures(&self) -> bool {
        matches!(self.format.0, FormatKind::CustomWith(_))
    }

    /// Captures the values that the format needs to render a rejection of this request.
    pub(crate) fn capture(&self, head: &RequestHead<'_>) -> Option<RenderOnce> {
        match &self.format.0 {
            FormatKind::CustomWith(capture) => Some(capture(head)),
            FormatKind::BuiltIn(_) | FormatKind::Custom(_) => None,
        }
    }

    /// Renders the rejection of a request that has no response yet.
    pub(crate) fn refusal(
        &self,
        rejection: &Rejection,
        protocol: ResponseProtocol,
        render: Option<RenderOnce>,
    ) -> Response<Bytes> {
        let by_bearer = rejection.scheme().is_some_and(Scheme::is_bearer);
        match self.prerendered.get(rejection.reason().problem(), by_bearer) {
            Some(prerendered)
                if protocol == ResponseProtocol::Http
                    && rejection.problem_json().is_none()
                    && !self.is_detailed(rejection) =>
            {
                let mut refusal = prerendered.clone();
                if let Some(text) = self.texts.about(rejection) {
                    text.replace(&mut refusal);
                }
                match rejection.own_retry_after() {
                    Some(after) => _ = refusal.headers_mut().insert(RETRY_AFTER, retry_after(after)),
                    None if refusal.status() == StatusCode::TOO_MANY_REQUESTS => {
                        refusal.headers_mut().remove(RETRY_AFTER);
                    }
                    None => {}
                }
                self.write_headers(rejection, refusal.headers_mut());
                refusal
            }
            Some(_) | None => respond(|parts| self.render(rejection, protocol, render, parts)),
        }
    }

    /// Writes the status and the headers of the rejection into `parts`, and returns the body. Keeps
    /// the other headers that the inner service or a middleware has set.
    pub(crate) fn render(
        &self,
        rejection: &Rejection,
        protocol: ResponseProtocol,
        render: Option<RenderOnce>,
        parts: &mut Parts,
    ) -> Bytes {
        // The header may describe the empty body that the rejection replaces.
        parts.headers.remove(CONTENT_ENCODING);
        let no_store = HeaderValue::from_static("no-store");
        parts.headers.insert(CACHE_CONTROL, no_store);
        let body = if let Some(media_type) = protocol.grpc_media_type() {
            let problem = rejection.reason().problem();
            write_grpc(problem, self.grpc_message(rejection), media_type, parts);
            if problem.status() == StatusCode::TOO_MANY_REQUESTS
                && let Some(after) = rejection.retry_after()
                && let Some(details) = retry_info(problem.grpc_status(), rejection.detail(), after)
            {
                parts.headers.insert(GRPC_STATUS_DETAILS, details);
            }
            Bytes::new()
        } else {
            let body = self.render_http(rejection, render, parts);
            self.vary.write(&mut parts.headers);
            body
        };
        self.write_headers(rejection, &mut parts.headers);
        match protocol {
            ResponseProtocol::HttpHead => Bytes::new(),
            ResponseProtocol::HttpBodiless => {
                parts.headers.remove(CONTENT_TYPE);
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                Bytes::new()
            }
            ResponseProtocol::Http | ResponseProtocol::Grpc | ResponseProtocol::GrpcWeb => body,
        }
    }

    /// Adds the headers of the application that the response does not have yet, unless the layer
    /// hides the details of this 403.
    fn write_headers(&self, rejection: &Rejection, to: &mut HeaderMap) {
        let Some(own) = rejection.headers().filter(|_| !self.hides(rejection)) else { return };
        for name in own.keys() {
            if !to.contains_key(name) {
                for value in own.get_all(name) {
                    to.append(name, value.clone());
                }
            }
        }
    }

    fn grpc_message(&self, rejection: &Rejection) -> HeaderValue {
        let problem = rejection.reason().problem();
        if let Some(detail) = self.details(rejection).0 {
            return message(&detail, problem);
        }
        match (self.texts.about(rejection), problem) {
            (Some(text), _) => message(&text.sentence, problem),
            (None, Problem::MissingKey) => self.missing_key_message.clone(),
            (None, problem) => HeaderValue::from_static(problem.detail()),
        }
    }

    fn render_http(&self, rejection: &Rejection, render: Option<RenderOnce>, parts: &mut Parts) -> Bytes {
        let problem = rejection.reason().problem();
        let (detail, scope) = self.details(rejection);
        let own = match &self.format.0 {
            FormatKind::Custom(render) => Some(render(rejection)),
            FormatKind::BuiltIn(_) | FormatKind::CustomWith(_) => render.map(|render| render(rejection)),
        };
        let body = if let Some(own) = own {
            let (mut own, body) = own.into_parts();
            own.headers.remove(CACHE_CONTROL); // `no-store` stays
            parts.status = if is_refusal(own.status, &own.headers) { own.status } else { problem.status() };
            parts.headers.extend(own.headers);
            body
        } else {
            parts.status = problem.status();
            parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.built_in.media_type()));
            match (rejection.problem_json(), detail) {
                (Some(body), _) if matches!(self.built_in, BuiltIn::ProblemJson(_)) => body,
                (_, Some(detail)) => self.built_in.body(problem, &detail, rejection.violated()).into(),
                (_, None) => self.texts.body(rejection),
            }
        };
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(after) = delay(rejection, parts.status) {
            parts.headers.entry(RETRY_AFTER).or_insert_with(|| retry_after(after));
        }
        self.challenges.write(parts.status, problem, rejection.interned_scheme(), scope.as_deref(), &mut parts.headers);
        body
    }
}

/// Returns when to retry. The status of a custom format may differ from the problem's.
fn delay(rejection: &Rejection, status: StatusCode) -> Option<Duration> {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => rejection.retry_after().or(Problem::Unavailable.retry_after()),
        StatusCode::TOO_MANY_REQUESTS => rejection.retry_after(),
        _ => None,
    }
}

/// Returns a `Retry-After` in whole seconds, rounded up, at least one (RFC 9110 §10.2.3).
pub(crate) fn retry_after(after: Duration) -> HeaderValue {
    match whole_seconds(after) {
        0 | 1 => HeaderValue::from_static("1"),
        seconds => HeaderValue::from(seconds),
    }
}

/// Returns whether a response rejects the request: an error, or a redirect to another place. With a
/// 304 the client would use the response in its cache.
fn is_refusal(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_elsewhere = status != StatusCode::NOT_MODIFIED && headers.contains_key(LOCATION);
    status.is_client_error() || status.is_server_error() || (status.is_redirection() && is_elsewhere)
}
