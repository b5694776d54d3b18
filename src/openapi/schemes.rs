//! The schemes of a policy as the security schemes of an OpenAPI document.

use utoipa::openapi::{
    OpenApi, SecurityRequirement,
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::{
    guard::Roles,
    scheme::{Carrier, KeyForm, Scheme, SchemePolicy},
};

/// Writes the schemes, and a requirement for a key with one of them.
pub(crate) fn require_a_key(policy: &SchemePolicy, document: &mut OpenApi) {
    document.security = Some(requirements(policy, &[Roles::new()]));
    let components = document.components.get_or_insert_default();
    components.add_security_schemes_from_iter(named(policy).into_iter().map(|(name, scheme)| (name, security(scheme))));
}

/// Returns a requirement for each alternative and each scheme.
pub(super) fn requirements(policy: &SchemePolicy, alternatives: &[Roles]) -> Vec<SecurityRequirement> {
    let names: Vec<String> = named(policy).into_iter().map(|(name, _)| name).collect();
    let by_each =
        |roles: &Roles| -> Vec<_> { names.iter().map(|name| SecurityRequirement::new(name, roles)).collect() };
    alternatives.iter().flat_map(by_each).collect()
}

/// Returns the distinct schemes, each with a unique name that matches `^[a-zA-Z0-9._-]+$`.
fn named(policy: &SchemePolicy) -> Vec<(String, &Scheme)> {
    let mut named: Vec<(String, &Scheme)> = Vec::new();
    for scheme in policy.schemes() {
        if named.iter().any(|(_, known)| *known == scheme) {
            continue;
        }
        let fit = |c: char| match c {
            ':' => '-',
            '.' | '-' => c,
            _ if c.is_ascii_alphanumeric() => c,
            _ => '_',
        };
        let text: String = scheme.to_string().chars().map(fit).collect();
        let (mut name, mut number) = (text.clone(), 1);
        while named.iter().any(|(taken, _)| *taken == name) {
            number += 1;
            name = format!("{text}-{number}");
        }
        named.push((name, scheme));
    }
    named
}

/// Describes a scheme. `Bearer` and `Basic` are HTTP schemes in OpenAPI. Every other auth-scheme
/// becomes a key in the header `Authorization`.
fn security(scheme: &Scheme) -> SecurityScheme {
    let http = HttpBuilder::new();
    let api_key = match (scheme.place(), scheme.word()) {
        _ if scheme.is_bearer() => return SecurityScheme::Http(http.scheme(HttpAuthScheme::Bearer).build()),
        _ if scheme.is_basic() => {
            let part = match scheme.key_form() {
                KeyForm::Password => "password",
                KeyForm::Usual | KeyForm::VisibleAscii => "user name",
            };
            let basic = http.scheme(HttpAuthScheme::Basic).description(Some(format!("The {part} is the key")));
            return SecurityScheme::Http(basic.build());
        }
        (Carrier::Header(name), Some(word)) => {
            ApiKey::Header(ApiKeyValue::with_description(&**name, &format!("{word}, a space, and the key")))
        }
        (Carrier::Header(name), None) => ApiKey::Header(ApiKeyValue::new(&**name)),
        (Carrier::Query(name), _) => ApiKey::Query(ApiKeyValue::new(&**name)),
        (Carrier::Cookie(name), _) => ApiKey::Cookie(ApiKeyValue::new(&**name)),
        (Carrier::WebSocketProtocol(name), _) => {
            let described = format!("{name}, a comma, and the key");
            ApiKey::Header(ApiKeyValue::with_description("Sec-WebSocket-Protocol", &described))
        }
    };
    SecurityScheme::ApiKey(api_key)
}
