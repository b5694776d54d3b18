//! The regular expression of a format, for secret scanners.

use super::{KeyFormat, checksum, shape::Shape};

impl KeyFormat {
    /// Returns a regular expression that matches every key of this format, for a secret scanner;
    /// `None` for a [foreign](KeyFormat::foreign) format.
    ///
    /// It has only literals, one class and one counted repeat, so it means the same in PCRE, RE2,
    /// Hyperscan and the crate `regex`. It has no anchors, since a scanner searches for keys within
    /// other text. It cannot express the checksum; [`KeyFormat::check`] checks it.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// let live = KeyFormat::new("acme_live")?;
    /// assert_eq!(live.pattern().as_deref(), Some("acme_live_[0-9A-Za-z]{42}"));
    /// assert_eq!(KeyFormat::foreign("ak", ".", 3)?.pattern(), None);
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    pub fn pattern(&self) -> Option<String> {
        let Shape::Own { body } = self.shape else { return None };
        // Outside a class, only `.` is special: the others are letters, digits, `_`, `-` and `~`.
        let prefix = self.prefix().replace('.', r"\.");
        Some(format!("{prefix}[0-9A-Za-z]{{{}}}", body + checksum::LEN))
    }
}
