//! Parses the form of a token request (RFC 8693 §2.1). It repeats nothing of the form in an error.

use std::{collections::BTreeMap, time::Duration};

use zeroize::Zeroizing;

use super::refusal::{ErrorCode, Refusal};
use crate::{
    address::Network,
    permission::{Permissions, is_wildcard},
};

/// What a client asks for.
pub(super) struct Form {
    pub(super) subject_token: Zeroizing<String>,
    pub(super) lifetime: Option<Duration>,
    pub(super) scope: Option<Scope>,
    pub(super) addresses: Option<Vec<Network>>,
}

/// Permissions, as `resource:action` with a space between them (RFC 6749 §3.3).
pub(super) struct Scope(String);

/// The values of the parameters that the endpoint knows. One may be the key, so all are wiped.
struct Values(BTreeMap<&'static str, Zeroizing<String>>);

pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The parameters that the endpoint knows, and whether RFC 8693 §2.1 lets a client repeat them.
const PARAMETERS: [(&str, bool); 11] = [
    ("actor_token", false),
    ("actor_token_type", false),
    ("allowed_addresses", false),
    ("audience", true),
    ("expires_in", false),
    ("grant_type", false),
    ("requested_token_type", false),
    ("resource", true),
    ("scope", false),
    ("subject_token", false),
    ("subject_token_type", false),
];

// === impl Form ===

impl Form {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut values = Values::parse(body)?;
        match values.get("grant_type") {
            Some(TOKEN_EXCHANGE) => {}
            Some(_) => {
                let expected = format!("grant_type must be {TOKEN_EXCHANGE}");
                return Err(Refusal::new(ErrorCode::UnsupportedGrantType, expected));
            }
            None => return Err(Refusal::request("grant_type is missing")),
        }
        if values.has("actor_token") || values.has("actor_token_type") {
            return Err(Refusal::request("actor_token is not supported: a token acts for the holder of its key"));
        }
        values.must_be_access_token("subject_token_type")?;
        if values.has("requested_token_type") {
            values.must_be_access_token("requested_token_type")?;
        }
        if values.has("audience") || values.has("resource") {
            let description = "a token is for this service only: leave out audience and resource";
            return Err(Refusal::new(ErrorCode::InvalidTarget, description));
        }
        Ok(Self {
            scope: values.get("scope").map(Scope::parse).transpose()?,
            lifetime: values.get("expires_in").map(lifetime).transpose()?,
            addresses: values.get("allowed_addresses").map(networks).transpose()?,
            subject_token: values
                .0
                .remove("subject_token")
                .ok_or_else(|| Refusal::request("subject_token is missing: it is the key"))?,
        })
    }
}

// === impl Values ===

impl Values {
    /// Parses the known parameters. A parameter without a value is as good as omitted, and none may
    /// be repeated (RFC 6749 §3.2).
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            let value = Zeroizing::new(value.into_owned());
            let Some((name, may_repeat)) = PARAMETERS.into_iter().find(|(known, _)| *known == name) else { continue };
            if !value.is_empty() && values.insert(name, value).is_some() && !may_repeat {
                return Err(Refusal::request(format!("{name} is repeated")));
            }
        }
        Ok(Self(values))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn must_be_access_token(&self, name: &str) -> Result<(), Refusal> {
        match self.get(name) {
            Some(ACCESS_TOKEN) => Ok(()),
            Some(_) => Err(Refusal::request(format!("{name} must be {ACCESS_TOKEN}"))),
            None => Err(Refusal::request(format!("{name} is missing: it is {ACCESS_TOKEN}"))),
        }
    }
}

// === impl Scope ===

impl Scope {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let is_permission = |name: &str| split(name).is_some() && name.bytes().all(is_scope_byte);
        if text.split(' ').all(is_permission) {
            return Ok(Self(text.to_owned()));
        }
        let description = "scope is a list of permissions such as links:read, with one space between them";
        Err(Refusal::new(ErrorCode::InvalidScope, description))
    }

    /// Returns the text, as the client has sent it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the permissions of the scope. A `*` in it means what it means in those of the key.
    pub(super) fn permissions(&self, of_key: &Permissions) -> Permissions {
        let names = self.0.split(' ').filter_map(split);
        let has_wildcards = names.clone().any(|(resource, action)| is_wildcard(resource) || action == "*");
        let permissions: Permissions = names.collect();
        if has_wildcards && of_key.has_wildcards() { permissions.with_wildcards() } else { permissions }
    }
}

/// Splits a permission at its last colon, as the challenge of a 403 writes it.
fn split(permission: &str) -> Option<(&str, &str)> {
    permission.rsplit_once(':').filter(|(resource, action)| !resource.is_empty() && !action.is_empty())
}

/// RFC 6749 §3.3.
fn is_scope_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

fn lifetime(text: &str) -> Result<Duration, Refusal> {
    let seconds = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    seconds.map(Duration::from_secs).ok_or_else(|| Refusal::request("expires_in is a number of seconds"))
}

fn networks(text: &str) -> Result<Vec<Network>, Refusal> {
    Network::list(text.split(' ')).map_err(|error| Refusal::request(format!("allowed_addresses: {error}")))
}
