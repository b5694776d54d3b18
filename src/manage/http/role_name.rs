//! The name of a role in a body, and its schema.

use serde::Deserialize;
use utoipa::ToSchema;

/// 1 to 64 visible ASCII characters.
#[derive(Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(min_length = 1, max_length = 64, pattern = "^[!-~]*$")]
pub(super) struct RoleName(String);

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0
    }
}
