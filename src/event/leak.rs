//! Where the text of a key was found.

use super::KeyEvent;

/// Where the text of a key was found: what a scanner reports.
///
/// ```
/// use tower_api_key::manage::Leak;
///
/// let leak = Leak::new("commit").with_url("https://github.com/octocat/Hello-World/blob/1234/foo.txt");
/// assert_eq!((leak.source(), leak.url().is_some()), ("commit", true));
/// // Another text is no source, and no link that a person may follow.
/// let leak = Leak::new("<b>commit</b>").with_url("javascript:alert(1)");
/// assert_eq!((leak.source(), leak.url()), ("unknown", None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    source: String,
    url: Option<String>,
}

/// The source of a report that has none, or one that is no label.
const UNKNOWN: &str = "unknown";

/// The longest source, in characters.
const MAX_SOURCE: usize = 40;

/// The longest URL, in characters.
const MAX_URL: usize = 2_048;

// === impl Leak ===

impl Leak {
    /// Describes a leak in a source of this kind, such as `content` or `gist_comment`.
    ///
    /// A source has 1 to 40 ASCII letters, digits, `_` and `-`, which are stored in lower case. Any
    /// other text becomes `unknown`.
    pub fn new(source: impl AsRef<str>) -> Self {
        let source = source.as_ref();
        let is_label = (1..=MAX_SOURCE).contains(&source.len())
            && source.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        Self { source: if is_label { source.to_ascii_lowercase() } else { UNKNOWN.to_owned() }, url: None }
    }

    /// Sets the address at which the key was found.
    ///
    /// It begins with `https://` or `http://`, and has at most 2,048 characters of visible ASCII.
    /// Any other text is left out.
    #[must_use]
    pub fn with_url(mut self, url: impl AsRef<str>) -> Self {
        let url = url.as_ref();
        let is_web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
        let is_good = is_web && url.len() <= MAX_URL && url.bytes().all(|byte| byte.is_ascii_graphic());
        self.url = is_good.then(|| url.to_owned());
        self
    }

    /// Returns the kind of the source in lower case, or `unknown`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the address at which the key was found, if it is known.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Leaves out the texts that contain this key: events are stored, shown and sent as they are.
    pub(crate) fn hiding(self, key: &str) -> Self {
        let shows = |text: &str| text.to_ascii_lowercase().contains(&key.to_ascii_lowercase());
        let is_shown = |url: &String| {
            let decoded = percent_encoding::percent_decode_str(url).decode_utf8_lossy();
            shows(url) || shows(&decoded)
        };
        let source = if shows(&self.source) { UNKNOWN.to_owned() } else { self.source };
        Self { source, url: self.url.filter(|url| !is_shown(url)) }
    }
}

// === impl KeyEvent ===

impl KeyEvent {
    /// Sets where the key was found, for an event of the kind
    /// [`Leaked`](super::KeyEventKind::Leaked).
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_api_key::{Author, manage::{KeyEvent, KeyEventKind, Leak}};
    ///
    /// let event = KeyEvent::new(KeyEventKind::Leaked, "k1", 3, Author::System, SystemTime::UNIX_EPOCH)
    ///     .with_leak(Leak::new("commit"));
    /// assert_eq!(event.leak().map(Leak::source), Some("commit"));
    /// ```
    #[must_use]
    pub fn with_leak(mut self, leak: impl Into<Option<Leak>>) -> Self {
        self.leak = leak.into();
        self
    }

    /// Returns where the key was found, for an event of the kind
    /// [`Leaked`](super::KeyEventKind::Leaked).
    pub fn leak(&self) -> Option<&Leak> {
        self.leak.as_ref()
    }
}
