//! The one renderer: from a rejection to a response.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER},
    response::Parts,
};

use super::{
    Problem, Reason, Rejection,
    diagnosis_texts::DiagnosisTexts,
    missing::{UNLISTED, in_json},
    prerendered::{Prerendered, respond},
    protocol::{ResponseProtocol, message, missing_key_message, write_grpc},
};
use crate::{
    error::ConfigError,
    head::RequestHead,
    scheme::{Challenges, Scheme, SchemePolicy, Vary},
};

/// How a refusal reads.
///
/// Whatever the format, the layer adds the challenges, `Cache-Control: no-store`, and `Retry-After` to a 503 that has none. After
/// [`grpc`](crate::layer::ApiKeyLayerBuilder::grpc) a gRPC request is answered by a gRPC status in every format.
///
/// ```
/// use http::{HeaderValue, Response, header::CONTENT_TYPE};
/// use tower_api_key::{ApiKeyLayer, RejectionFormat, store::MemoryStore};
///
/// let errors = RejectionFormat::custom(|rejection| {
///     let title = rejection.reason().problem().title();
///     let mut response = Response::new(format!(r#"{{"errors": [{{"title": "{title}"}}]}}"#));
///     response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
///     response
/// });
/// let layer = ApiKeyLayer::builder(MemoryStore::new()).rejection_format(errors).build();
/// ```
#[derive(Clone)]
pub struct RejectionFormat(FormatKind);

#[derive(Clone)]
pub(super) enum FormatKind {
    /// With the base of problem types, if it is not this crate's documentation.
    ProblemJson(Option<Arc<str>>),
    Json,
    Text,
    Custom(Render),
    CustomWith(CaptureRender),
}

type Render = Arc<dyn Fn(&Rejection) -> Response<Bytes> + Send + Sync>;

/// Takes values from the head of a request, and returns what renders its refusal.
type CaptureRender = Arc<dyn Fn(&RequestHead<'_>) -> RenderOnce + Send + Sync>;
pub(crate) type RenderOnce = Box<dyn FnOnce(&Rejection) -> Response<Bytes> + Send>;

impl RejectionFormat {
    /// `application/problem+json` (RFC 9457), the default:
    /// `{"type": "https://..", "title": "API key required", "status": 401, "detail": "..", "code": "missing_key"}`. The code is
    /// [`Problem::as_str`]; the detail of a credential in the wrong form says what was seen and what to send.
    pub fn problem_json() -> Self {
        Self(FormatKind::ProblemJson(None))
    }

    /// Writes problem types under a base URI of your own, in problem+json: `https://errors.example.com/keys#` makes
    /// `https://errors.example.com/keys#missing-key`. The name of the problem (see the [module](super)) follows the base, after a `/` if the base ends with a
    /// letter or a digit. With `about:blank` every type is `about:blank`, and the title is that of the status (RFC 9457 §4.2.1).
    ///
    /// A base that is not a URI reference is a [`ConfigError::ProblemTypes`] when the layer is built. Other formats have no types and
    /// stay as they are.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, RejectionFormat, store::MemoryStore};
    ///
    /// let format = RejectionFormat::problem_json().problem_types("https://errors.example.com/keys#");
    /// assert!(ApiKeyLayer::builder(MemoryStore::new()).rejection_format(format).build().is_ok());
    /// ```
    #[must_use]
    pub fn problem_types(self, base: impl Into<String>) -> Self {
        match self.0 {
            FormatKind::ProblemJson(_) => Self(FormatKind::ProblemJson(Some(base.into().into()))),
            other => Self(other),
        }
    }

    pub(super) fn kind(&self) -> &FormatKind {
        &self.0
    }

    fn check(&self) -> Result<(), ConfigError> {
        let is_uri = |base: &str| {
            let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
            !base.is_empty() && base.bytes().all(allowed)
        };
        match &self.0 {
            FormatKind::ProblemJson(Some(base)) if !is_uri(base) => Err(ConfigError::ProblemTypes(base.to_string())),
            _ => Ok(()),
        }
    }

    /// `application/json`: `{"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}`.
    pub fn json() -> Self {
        Self(FormatKind::Json)
    }

    /// `text/plain`: one line.
    pub fn text() -> Self {
        Self(FormatKind::Text)
    }

    /// A response of your own: headers and body, and a status if it is not the problem's. A refusal is never a success: the status is replaced
    /// by the problem's unless it is a 4xx, a 5xx, or a redirect (3xx with `Location`, but no 304). A new response has 200, so it gets the problem's.
    pub fn custom<B: Into<Bytes>>(render: impl Fn(&Rejection) -> Response<B> + Send + Sync + 'static) -> Self {
        Self(FormatKind::Custom(Arc::new(move |rejection| render(rejection).map(Into::into))))
    }

    /// As [`custom`](Self::custom), with values of the request: `render` gets what `capture` took from its head, such as a request id.
    ///
    /// `capture` runs for every request, before it reaches the inner service, since a guard further in may refuse it later.
    ///
    /// ```
    /// use http::Response;
    /// use tower_api_key::RejectionFormat;
    ///
    /// RejectionFormat::custom_with(
    ///     |head| (head.path().to_owned(), head.headers().get("x-request-id").cloned()),
    ///     |rejection, (path, id)| {
    ///         let mut response = Response::new(format!("{path}: {}\n", rejection.reason().problem().title()));
    ///         response.headers_mut().extend(id.map(|id| (http::HeaderName::from_static("x-request-id"), id)));
    ///         response
    ///     },
    /// );
    /// ```
    pub fn custom_with<T: Send + 'static, B: Into<Bytes>>(
        capture: impl Fn(&RequestHead<'_>) -> T + Send + Sync + 'static,
        render: impl Fn(&Rejection, T) -> Response<B> + Send + Sync + 'static,
    ) -> Self {
        let render = Arc::new(render);
        Self(FormatKind::CustomWith(Arc::new(move |head| {
            let (captured, render) = (capture(head), Arc::clone(&render));
            Box::new(move |rejection| render(rejection, captured).map(Into::into))
        })))
    }
}

impl Default for RejectionFormat {
    fn default() -> Self {
        Self::problem_json()
    }
}

impl fmt::Debug for RejectionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            FormatKind::ProblemJson(_) => "RejectionFormat(problem+json)",
            FormatKind::Json => "RejectionFormat(json)",
            FormatKind::Text => "RejectionFormat(text)",
            FormatKind::Custom(_) | FormatKind::CustomWith(_) => "RejectionFormat(custom)",
        })
    }
}

/// A format and the challenges that go with it.
#[derive(Debug)]
pub(crate) struct Renderer {
    format: RejectionFormat,
    challenges: Challenges,
    vary: Vary,
    missing_key_message: HeaderValue,
    /// Whether a 403 says what was missing.
    hides_details: bool,
    said: DiagnosisTexts,
    ready: Prerendered,
}

impl Renderer {
    pub(crate) fn new(
        format: RejectionFormat,
        challenges: Challenges,
        policy: &SchemePolicy,
        max_key_len: usize,
    ) -> Result<Self, ConfigError> {
        format.check()?;
        let said = DiagnosisTexts::new(&format, policy, max_key_len);
        let missing_key_message = missing_key_message(policy);
        let vary = Vary::new(policy);
        let renderer = Self {
            format,
            challenges,
            vary,
            missing_key_message,
            hides_details: false,
            said,
            ready: Prerendered::NONE,
        };
        let ready = match renderer.format.0 {
            FormatKind::ProblemJson(_) | FormatKind::Json | FormatKind::Text => Prerendered::new(&renderer),
            FormatKind::Custom(_) | FormatKind::CustomWith(_) => Prerendered::NONE,
        };
        Ok(Self { ready, ..renderer })
    }

    /// Writes the same body into every 403, if this is so.
    pub(crate) fn hiding_forbidden_details(self, hides_details: bool) -> Self {
        Self { hides_details, ..self }
    }

    /// Whether a 403 may say more than the detail of its problem.
    fn is_detailed(&self, rejection: &Rejection) -> bool {
        !self.hides_details && (rejection.reason() == Reason::NoMatchingRoute || rejection.missing().is_some())
    }

    /// What a 403 says instead of the detail of its problem, and the `scope` of its challenge.
    fn forbidden(&self, rejection: &Rejection) -> (Option<Cow<'static, str>>, Option<String>) {
        match (rejection.reason(), rejection.missing()) {
            _ if self.hides_details => (None, None),
            (Reason::NoMatchingRoute, _) => (Some(UNLISTED.into()), None),
            (Reason::Forbidden, Some(missing)) => (missing.detail().map(Cow::Owned), missing.scope()),
            _ => (None, None),
        }
    }

    /// The headers that every answer of the layer depends on.
    pub(crate) fn vary(&self) -> &Vary {
        &self.vary
    }

    /// Whether the format needs values of a request.
    pub(crate) fn captures(&self) -> bool {
        matches!(self.format.0, FormatKind::CustomWith(_))
    }

    /// Takes from the head of a request what the format needs to refuse it.
    pub(crate) fn capture(&self, head: &RequestHead<'_>) -> Option<RenderOnce> {
        match &self.format.0 {
            FormatKind::CustomWith(capture) => Some(capture(head)),
            _ => None,
        }
    }

    /// The refusal of a request that has no response yet.
    pub(crate) fn refusal(
        &self,
        rejection: &Rejection,
        dialect: ResponseProtocol,
        render: Option<RenderOnce>,
    ) -> Response<Bytes> {
        let by_bearer = rejection.scheme().is_some_and(Scheme::is_bearer);
        match self.ready.get(rejection.reason().problem(), by_bearer) {
            Some(ready)
                if dialect == ResponseProtocol::Http
                    && rejection.problem_json().is_none()
                    && !self.is_detailed(rejection) =>
            {
                let mut refusal = ready.clone();
                if let Some(said) = self.said.about(rejection) {
                    said.replace(&mut refusal);
                }
                refusal
            }
            _ => respond(|parts| self.render(rejection, dialect, render, parts)),
        }
    }

    /// Makes `parts` the head of the refusal, keeps the headers that others have added, and returns its body.
    pub(crate) fn render(
        &self,
        rejection: &Rejection,
        dialect: ResponseProtocol,
        render: Option<RenderOnce>,
        parts: &mut Parts,
    ) -> Bytes {
        // The encoding may be that of the empty response which this one replaces.
        parts.headers.remove(CONTENT_ENCODING);
        let no_store = HeaderValue::from_static("no-store");
        parts.headers.insert(CACHE_CONTROL, no_store);
        if let Some(media_type) = dialect.grpc_media_type() {
            let problem = rejection.reason().problem();
            let message = match (self.said.about(rejection), problem) {
                (Some(said), _) => message(&said.sentence, problem),
                (None, Problem::MissingKey) => self.missing_key_message.clone(),
                (None, problem) => match self.forbidden(rejection).0 {
                    Some(detail) => message(&detail, problem),
                    None => HeaderValue::from_static(problem.detail()),
                },
            };
            write_grpc(problem, message, media_type, parts);
            return Bytes::new();
        }
        let body = self.render_http(rejection, render, parts);
        self.vary.write(&mut parts.headers);
        match dialect {
            ResponseProtocol::HttpHead => Bytes::new(),
            ResponseProtocol::HttpBodiless => {
                parts.headers.remove(CONTENT_TYPE);
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                Bytes::new()
            }
            ResponseProtocol::Http | ResponseProtocol::Grpc | ResponseProtocol::GrpcWeb => body,
        }
    }

    fn render_http(&self, rejection: &Rejection, render: Option<RenderOnce>, parts: &mut Parts) -> Bytes {
        let problem = rejection.reason().problem();
        let own = match &self.format.0 {
            FormatKind::Custom(render) => Some(render(rejection)),
            _ => render.map(|render| render(rejection)),
        };
        let (detail, scope) = self.forbidden(rejection);
        let with_detail = |body: Bytes, quoted: fn(&str) -> String| match &detail {
            Some(detail) => with_detail(&body, problem.detail(), &quoted(detail)),
            None => body,
        };
        let mut fixed = |media_type| {
            parts.status = problem.status();
            let media_type = HeaderValue::from_static(media_type);
            parts.headers.insert(CONTENT_TYPE, media_type);
            self.said.body(rejection)
        };
        let body = match (&self.format.0, own) {
            (_, Some(own)) => {
                let (mut own, body) = own.into_parts();
                own.headers.remove(CACHE_CONTROL); // `no-store` stays
                parts.status = if is_refusal(own.status, &own.headers) { own.status } else { problem.status() };
                parts.headers.extend(own.headers);
                body
            }
            (FormatKind::ProblemJson(_) | FormatKind::Custom(_) | FormatKind::CustomWith(_), None) => {
                let plain = fixed("application/problem+json");
                rejection.problem_json().unwrap_or_else(|| with_detail(plain, in_json))
            }
            (FormatKind::Json, None) => fixed("application/json"),
            (FormatKind::Text, None) => with_detail(fixed("text/plain; charset=utf-8"), str::to_owned),
        };
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if parts.status == StatusCode::SERVICE_UNAVAILABLE {
            let one_second = HeaderValue::from_static("1");
            parts.headers.entry(RETRY_AFTER).or_insert(one_second);
        }
        self.challenges.write(parts.status, problem, rejection.interned_scheme(), scope.as_deref(), &mut parts.headers);
        body
    }
}

/// A body with another detail in the place of its own.
fn with_detail(body: &[u8], own: &str, detail: &str) -> Bytes {
    String::from_utf8_lossy(body).replacen(own, detail, 1).into()
}

/// Whether a response tells everybody that the request was refused: an error, or a redirect to elsewhere. A 304 would show what a cache holds.
fn is_refusal(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_elsewhere = status != StatusCode::NOT_MODIFIED && headers.contains_key(LOCATION);
    status.is_client_error() || status.is_server_error() || (status.is_redirection() && is_elsewhere)
}

/// What one problem says, in every built-in format.
pub(super) struct Texts {
    pub(super) title: &'static str,
    code: &'static str,
    problem_type: &'static str,
    /// What a problem's type ends with.
    pub(super) anchor: &'static str,
    detail: &'static str,
    pub(super) json: &'static str,
}

macro_rules! texts {
    ($error:literal, $code:literal, $anchor:literal, $title:literal, $detail:literal) => {
        Texts {
            title: $title,
            code: $code,
            problem_type: concat!("https://docs.rs/tower-api-key/latest/tower_api_key/rejection/index.html#", $anchor),
            anchor: $anchor,
            detail: $detail,
            json: concat!(r#"{"error": ""#, $error, r#"", "code": ""#, $code, r#""}"#),
        }
    };
}

impl Problem {
    #[rustfmt::skip]
    pub(super) fn texts(self) -> &'static Texts {
        match self {
            Self::MissingKey => &texts!("Unauthorized", "AUTHENTICATION_ERROR", "missing-key",
                "API key required", "Send an API key by one of the accepted schemes."),
            Self::MalformedCredential => &texts!("Unauthorized", "AUTHENTICATION_ERROR", "malformed-credential",
                "Malformed credential", "No API key can be read from the credential that was sent."),
            Self::AmbiguousCredential => &texts!("Unauthorized", "AUTHENTICATION_ERROR", "ambiguous-credential",
                "Ambiguous credential", "More than one credential was sent. Send one."),
            Self::InvalidKey => &texts!("Unauthorized", "AUTHENTICATION_ERROR", "invalid-key",
                "Invalid API key", "The API key does not give access to this service."),
            Self::Forbidden => &texts!("Forbidden", "PERMISSION_DENIED", "forbidden",
                "Forbidden", "The API key may not do this."),
            Self::NotFound => &texts!("Not Found", "NOT_FOUND", "not-found",
                "Not found", "There is no such resource."),
            Self::Internal => &texts!("Internal Server Error", "INTERNAL_ERROR", "internal",
                "Internal error", "The service is not set up correctly."),
            Self::Unavailable => &texts!("Service Unavailable", "UNAVAILABLE", "unavailable",
                "Service unavailable", "The API key could not be checked. Try again."),
        }
    }

    /// A few words, fit for a person.
    pub fn title(self) -> &'static str {
        self.texts().title
    }

    /// One sentence, fit for a person.
    pub fn detail(self) -> &'static str {
        self.texts().detail
    }

    /// A code, fit for a program: one per status.
    pub fn code(self) -> &'static str {
        self.texts().code
    }

    /// The problem type (RFC 9457 §3.1.1), a URI of its own for each problem.
    pub fn problem_type(self) -> &'static str {
        self.texts().problem_type
    }
}
