//! The formats of a rejection's body: built in, or the application's own.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use http::Response;

use super::{Problem, Rejection};
use crate::{error::ConfigError, head::RequestHead};

/// Selects the format of rejection responses.
///
/// In every format the layer adds the challenges, `Cache-Control: no-store`, and `Retry-After`
/// where the rejection has one. If the layer has [`grpc`](crate::layer::ApiKeyLayerBuilder::grpc),
/// a gRPC request gets a gRPC status in every format.
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
pub struct RejectionFormat(pub(super) FormatKind);

#[derive(Clone)]
pub(super) enum FormatKind {
    BuiltIn(BuiltIn),
    Custom(Render),
    CustomWith(CaptureRender),
}

/// A format of this crate. A new format is a variant here, an arm in `name`, `media_type` and
/// `body`, and a constructor below.
#[derive(Clone, Debug)]
pub(super) enum BuiltIn {
    /// Contains the base of problem types. `None`: the documentation of this crate.
    ProblemJson(Option<Arc<str>>),
    Json,
    Text,
}

pub(super) type Render = Arc<dyn Fn(&Rejection) -> Response<Bytes> + Send + Sync>;

/// Takes values from the head of a request, and returns the renderer of its rejection.
pub(super) type CaptureRender = Arc<dyn Fn(&RequestHead<'_>) -> RenderOnce + Send + Sync>;
pub(crate) type RenderOnce = Box<dyn FnOnce(&Rejection) -> Response<Bytes> + Send>;

// === impl BuiltIn ===

impl BuiltIn {
    const fn name(&self) -> &'static str {
        match self {
            Self::ProblemJson(_) => "problem+json",
            Self::Json => "json",
            Self::Text => "text",
        }
    }

    pub(super) const fn media_type(&self) -> &'static str {
        match self {
            Self::ProblemJson(_) => "application/problem+json",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// Returns whether the body names the limits that are full.
    #[cfg(feature = "limits")]
    pub(super) const fn names_limits(&self) -> bool {
        matches!(self, Self::ProblemJson(_))
    }

    /// Renders the body of a problem. `violated` has the names of the limits that are full.
    pub(super) fn body(&self, problem: Problem, detail: &str, violated: &[Box<str>]) -> String {
        match self {
            Self::ProblemJson(base) => problem_json(base.as_deref(), problem, detail, violated),
            Self::Json => {
                let error = problem.status().canonical_reason().unwrap_or(problem.title());
                format!(r#"{{"error": "{error}", "code": "{}"}}"#, problem.code())
            }
            Self::Text => format!("{}. {}\n", problem.title(), in_one_line(detail)),
        }
    }
}

fn problem_json(base: Option<&str>, problem: Problem, detail: &str, violated: &[Box<str>]) -> String {
    let (problem_type, title) = match base {
        None => (Cow::Borrowed(problem.problem_type()), problem.title()),
        Some("about:blank") => ("about:blank".into(), problem.status().canonical_reason().unwrap_or(problem.title())),
        Some(base) => {
            let slash = if base.ends_with(|last: char| last.is_ascii_alphanumeric()) { "/" } else { "" };
            (format!("{base}{slash}{}", problem.anchor()).into(), problem.title())
        }
    };
    let policies = if violated.is_empty() {
        String::new()
    } else {
        let names: Vec<_> = violated.iter().map(|name| format!("\"{}\"", in_json(name))).collect();
        format!(r#", "violated-policies": [{}]"#, names.join(", "))
    };
    format!(
        r#"{{"type": "{problem_type}", "title": "{title}", "status": {}, "detail": "{}", "code": "{}"{policies}}}"#,
        problem.status().as_str(),
        in_json(detail),
        problem.as_str()
    )
}

/// Escapes a text for a JSON string (RFC 8259 §7).
pub(crate) fn in_json(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter: char| letter.is_control() || matches!(letter, '"' | '\\')) {
        return Cow::Borrowed(text);
    }
    let escape = |letter: char| match letter {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Replaces control characters by spaces.
fn in_one_line(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) { text.replace(char::is_control, " ").into() } else { text.into() }
}

// === impl RejectionFormat ===

impl RejectionFormat {
    /// Returns the default format, `application/problem+json` (RFC 9457): `{"type": "https://..",
    /// "title": "API key required", "status": 401, "detail": "..", "code": "missing_key"}`.
    ///
    /// The code is [`Problem::as_str`]. For a credential of the wrong form, the detail says what
    /// was seen and what to send. [`problem_types`](Self::problem_types) has an example.
    pub fn problem_json() -> Self {
        Self(FormatKind::BuiltIn(BuiltIn::ProblemJson(None)))
    }

    /// Writes problem types under a base URI of yours, in problem+json:
    /// `https://errors.example.com/keys#` gives `https://errors.example.com/keys#missing-key`.
    ///
    /// The name of the problem (see the [module](super)) follows the base, after a `/` if the base
    /// ends with a letter or a digit. With `about:blank` every type is `about:blank`, and the title
    /// is that of the status (RFC 9457 §4.2.1).
    ///
    /// For a base that is not a URI reference, building the layer returns
    /// [`ConfigError::ProblemTypes`]. Other formats have no types and do not change.
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
            FormatKind::BuiltIn(BuiltIn::ProblemJson(_)) => {
                Self(FormatKind::BuiltIn(BuiltIn::ProblemJson(Some(base.into().into()))))
            }
            other @ (FormatKind::BuiltIn(_) | FormatKind::Custom(_) | FormatKind::CustomWith(_)) => Self(other),
        }
    }

    /// Returns the format `application/json`:
    /// `{"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}`.
    /// [`ApiKeyLayerBuilder`](crate::layer::ApiKeyLayerBuilder) has an example.
    pub fn json() -> Self {
        Self(FormatKind::BuiltIn(BuiltIn::Json))
    }

    /// Returns the format `text/plain`: one line, `API key required. No API key was sent: send ..`.
    pub fn text() -> Self {
        Self(FormatKind::BuiltIn(BuiltIn::Text))
    }

    /// Renders rejections with a function of yours. It returns the headers and the body, and can
    /// set another status. The type's documentation has an example.
    ///
    /// A rejection is never a success. Your status applies if it is a 4xx, a 5xx, or a redirect
    /// (3xx with `Location`, but not 304). The problem's status replaces any other, such as the 200
    /// of a new response.
    pub fn custom<B: Into<Bytes>>(render: impl Fn(&Rejection) -> Response<B> + Send + Sync + 'static) -> Self {
        Self(FormatKind::Custom(Arc::new(move |rejection| render(rejection).map(Into::into))))
    }

    /// Renders rejections with values of the request, such as a request id: `render` gets the
    /// values that `capture` returned. Otherwise it works like [`custom`](Self::custom).
    ///
    /// `capture` runs for every request, before the request reaches the inner service, because an
    /// inner guard may reject it later.
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

    /// Returns the format of the texts that are made in advance. For a custom format it is
    /// problem+json.
    pub(super) fn built_in(&self) -> BuiltIn {
        match &self.0 {
            FormatKind::BuiltIn(format) => format.clone(),
            FormatKind::Custom(_) | FormatKind::CustomWith(_) => BuiltIn::ProblemJson(None),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_uri = |base: &str| {
            let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
            !base.is_empty() && base.bytes().all(allowed)
        };
        match self.built_in() {
            BuiltIn::ProblemJson(Some(base)) if !is_uri(&base) => Err(ConfigError::ProblemTypes(base.to_string())),
            BuiltIn::ProblemJson(_) | BuiltIn::Json | BuiltIn::Text => Ok(()),
        }
    }
}

impl Default for RejectionFormat {
    fn default() -> Self {
        Self::problem_json()
    }
}

impl fmt::Debug for RejectionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.0 {
            FormatKind::BuiltIn(format) => format.name(),
            FormatKind::Custom(_) | FormatKind::CustomWith(_) => "custom",
        };
        write!(f, "RejectionFormat({name})")
    }
}
