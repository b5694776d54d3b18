//! The query string of a list.

use std::num::NonZeroU8;

use utoipa::IntoParams;

/// The parameters of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListKeys {
    /// The maximum number of keys in one page.
    #[param(value_type = u8, minimum = 1, maximum = 255, default = 100, required = false)]
    pub(super) limit: NonZeroU8,
    /// The `next` of the previous page.
    #[param(value_type = String, min_length = 1, required = false)]
    pub(super) cursor: Option<String>,
    /// Lists only the keys of the user with this id.
    #[param(value_type = String, required = false)]
    pub(super) owner: Option<String>,
    /// Lists only the keys of this environment.
    #[param(value_type = String, required = false)]
    pub(super) environment: Option<String>,
    /// Whether to list revoked keys too.
    #[param(required = false)]
    pub(super) revoked: bool,
}

const HUNDRED: NonZeroU8 = NonZeroU8::MIN.saturating_add(99);

impl ListKeys {
    /// Parses a query string. The error names the parameter, never its value.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut list = Self { limit: HUNDRED, cursor: None, owner: None, environment: None, revoked: false };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = ["limit", "cursor", "owner", "environment", "revoked"].into_iter().find(|known| *known == name);
            let Some(name) = known else {
                return Err("Unknown parameter: use limit, cursor, owner, environment or revoked.".into());
            };
            if seen.contains(&name) {
                return Err(format!("{name}: given twice."));
            }
            seen.push(name);
            match name {
                "limit" => list.limit = value.parse().map_err(|_| "limit: must be a number from 1 to 255.")?,
                "revoked" => list.revoked = value.parse().map_err(|_| "revoked: must be true or false.")?,
                // An empty cursor matches no key, and a client would read the empty page as the
                // last page.
                "cursor" if value.is_empty() => {
                    return Err("cursor: must be `next` of the previous page; omit it for the first page.".into());
                }
                "cursor" => list.cursor = Some(value.into_owned()),
                "owner" => list.owner = Some(value.into_owned()),
                _ => list.environment = Some(value.into_owned()),
            }
        }
        Ok(list)
    }
}
