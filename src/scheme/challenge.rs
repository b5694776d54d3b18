//! `WWW-Authenticate`: which schemes a caller may use, and what was wrong with the one it used.
//!
//! Every line is written once, when the layer is built.

use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};

use super::{Scheme, SchemePolicy, grammar::is_tchar};
use crate::{error::ConfigError, rejection::Problem};

/// One challenge per distinct advertised scheme, each with a realm (RFC 9110 §11.6.1). An `ApiKey` names its place.
#[derive(Debug)]
pub(crate) struct Challenges {
    lines: Vec<HeaderValue>,
    bearer: Option<Bearer>,
}

/// Parameters that the layer writes itself.
const OWN_PARAMS: [&str; 6] = ["realm", "error", "scope", "in", "name", "scheme"];

/// The challenges that RFC 6750 §3.1 asks for, once a key came by Bearer.
#[derive(Debug)]
struct Bearer {
    line: usize,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
    insufficient_scope: HeaderValue,
}

impl Challenges {
    /// Challenges that carry `params` too, each a name and a value that is not quoted yet.
    pub(crate) fn new(policy: &SchemePolicy, realm: &str, params: &[(String, String)]) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::Realm(realm.to_owned());
        if realm.chars().any(char::is_control) {
            return Err(invalid());
        }
        let params = write_params(params)?;
        let line = |scheme: &Scheme, error: &str| {
            let (name, place) = (scheme.challenge_name(), scheme.challenge_params());
            let line = format!("{name} realm=\"{}\"{place}{error}{params}", escape(realm));
            HeaderValue::from_bytes(line.as_bytes()).map_err(|_| invalid())
        };
        let mut challenges = Self { lines: Vec::new(), bearer: None };
        let mut names: Vec<String> = Vec::new();
        for scheme in policy.advertised() {
            let name = (scheme.challenge_name().to_ascii_lowercase() + &scheme.challenge_params()).to_ascii_lowercase();
            if names.contains(&name) {
                continue;
            }
            names.push(name);
            if scheme.is_bearer() {
                challenges.bearer = Some(Bearer {
                    line: challenges.lines.len(),
                    invalid_request: line(scheme, ", error=\"invalid_request\"")?,
                    invalid_token: line(scheme, ", error=\"invalid_token\"")?,
                    insufficient_scope: line(scheme, ", error=\"insufficient_scope\"")?,
                });
            }
            challenges.lines.push(line(scheme, "")?);
        }
        Ok(challenges)
    }

    /// Writes the challenges of a response with `status`, which tells of `problem` with a key that came by `scheme` and lacked `scope`.
    pub(crate) fn write(
        &self,
        status: StatusCode,
        problem: Problem,
        scheme: Option<&'static Scheme>,
        scope: Option<&str>,
        headers: &mut HeaderMap,
    ) {
        let bearer = self.bearer.as_ref().filter(|_| scheme.is_some_and(Scheme::is_bearer));
        let error = bearer.and_then(|bearer| Some((bearer.line, bearer.error(problem)?)));
        if [status, problem.status()].contains(&StatusCode::UNAUTHORIZED) {
            for (number, line) in self.lines.iter().enumerate() {
                let line = error.filter(|(bearer, _)| *bearer == number).map_or(line, |(_, line)| line);
                headers.append(WWW_AUTHENTICATE, line.clone());
            }
        } else if let Some((_, line)) = error {
            let scoped = scope.and_then(|scope| with_scope(line, scope));
            headers.append(WWW_AUTHENTICATE, scoped.unwrap_or_else(|| line.clone()));
        }
    }
}

impl Bearer {
    /// RFC 6750 §3.1: no error where no credential of ours was presented, or where it is not the key's fault.
    fn error(&self, problem: Problem) -> Option<&HeaderValue> {
        match problem {
            Problem::MalformedCredential | Problem::AmbiguousCredential => Some(&self.invalid_request),
            Problem::InvalidKey => Some(&self.invalid_token),
            Problem::Forbidden => Some(&self.insufficient_scope),
            Problem::MissingKey
            | Problem::NotFound
            | Problem::TooManyRequests
            | Problem::Internal
            | Problem::Unavailable => None,
        }
    }
}

/// A challenge that names the scope which was missing (RFC 6750 §3).
fn with_scope(line: &HeaderValue, scope: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&[line.as_bytes(), b", scope=\"", scope.as_bytes(), b"\""].concat()).ok()
}

/// `, name="value"` for each.
fn write_params(params: &[(String, String)]) -> Result<String, ConfigError> {
    let mut written = String::new();
    for (number, (name, value)) in params.iter().enumerate() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let is_token = !name.is_empty() && name.bytes().all(is_tchar);
        let is_used = OWN_PARAMS.iter().any(|own| is(own)) || params[..number].iter().any(|(other, _)| is(other));
        if !is_token || is_used || value.chars().any(char::is_control) {
            return Err(ConfigError::ChallengeParam(name.clone()));
        }
        written.extend([", ", name, "=\"", &escape(value), "\""]);
    }
    Ok(written)
}

/// RFC 9110 §5.6.4: a quote and a backslash are escaped inside a quoted string.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
