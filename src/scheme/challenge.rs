//! `WWW-Authenticate`: the schemes that a caller may use, and the error of the credential that it
//! sent.
//!
//! Every line is built once, when the layer is built.

use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};

use super::{Scheme, SchemePolicy, grammar::is_tchar};
use crate::{error::ConfigError, rejection::Problem};

/// One challenge for each distinct advertised scheme, with a realm (RFC 9110 §11.6.1). A challenge
/// `ApiKey` names the place of the key.
#[derive(Debug)]
pub(crate) struct Challenges {
    lines: Vec<HeaderValue>,
    bearer: Option<Bearer>,
}

/// The parameters that the layer writes.
const OWN_PARAMS: [&str; 6] = ["realm", "error", "scope", "in", "name", "scheme"];

/// The challenges with an `error` (RFC 6750 §3.1), for a key in `Authorization: Bearer`.
#[derive(Debug)]
struct Bearer {
    line: usize,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
    insufficient_scope: HeaderValue,
}

impl Challenges {
    /// Builds challenges that also have `params`, pairs of a name and an unquoted value.
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

    /// Writes the challenges of a response with this status. `problem` is the problem of the
    /// request, `scheme` is the scheme that carried the key, and `scope` is the scope that the key
    /// lacks.
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
    /// Returns the challenge with the `error` of this problem. Returns `None` if no credential was
    /// presented, or if the key did not cause the problem (RFC 6750 §3.1).
    fn error(&self, problem: Problem) -> Option<&HeaderValue> {
        match problem {
            Problem::MalformedCredential | Problem::AmbiguousCredential => Some(&self.invalid_request),
            Problem::InvalidKey => Some(&self.invalid_token),
            Problem::Forbidden => Some(&self.insufficient_scope),
            Problem::MissingKey
            | Problem::InsecureTransport
            | Problem::NotFound
            | Problem::TooManyRequests
            | Problem::TooManyFailures
            | Problem::RateLimited
            | Problem::QuotaExceeded
            | Problem::CreditsExhausted
            | Problem::PaymentRequired
            | Problem::ConcurrencyLimited
            | Problem::Internal
            | Problem::Unavailable => None,
        }
    }
}

/// Returns a challenge that names the missing scope (RFC 6750 §3).
fn with_scope(line: &HeaderValue, scope: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&[line.as_bytes(), b", scope=\"", scope.as_bytes(), b"\""].concat()).ok()
}

/// Returns `, name="value"` for each parameter.
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

/// Escapes quotes and backslashes for a quoted string (RFC 9110 §5.6.4).
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
