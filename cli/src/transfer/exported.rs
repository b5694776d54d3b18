//! A key as `export` writes it.

use std::fmt::Write;

use serde::Serialize;
use tower_api_key::{KeyDigest, KeyRecord, manage::KeyView};

/// One key: what the management API shows, and what an import needs besides.
#[derive(Serialize)]
pub(crate) struct ExportedKey {
    #[serde(flatten)]
    view: KeyView,
    /// Whether `*` in the permissions is a wildcard.
    #[serde(skip_serializing_if = "is_false")]
    wildcards: bool,
    /// 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

// === impl ExportedKey ===

impl ExportedKey {
    pub(crate) fn new(record: &KeyRecord, with_digest: bool) -> Self {
        Self {
            view: KeyView::from(record),
            wildcards: record.permissions().has_wildcards(),
            digest: with_digest.then(|| hex(record.digest())),
        }
    }
}

fn hex(digest: &KeyDigest) -> String {
    digest.as_bytes().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
