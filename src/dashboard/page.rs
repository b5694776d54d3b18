//! The page, with the settings filled in, and its scripts and style sheets.

use std::sync::Arc;

use axum::{
    extract::OriginalUri,
    middleware::map_response,
    response::Html,
    routing::{MethodRouter, get},
};
use bytes::Bytes;

use super::router::secured;
use crate::scheme::{Carrier, Scheme, SchemePolicy};

/// The settings that change how the page looks.
#[derive(Clone)]
pub(super) struct PageSettings {
    pub(super) title: String,
    pub(super) stylesheet: String,
    pub(super) sign_in_link: Option<String>,
    /// `None` if the host application signs in.
    pub(super) key_field: Option<KeyField>,
}

/// The header in which the page sends a key to sign in.
#[derive(Clone)]
pub(super) struct KeyField {
    name: String,
    word: String,
}

/// The page. Clones share its text.
#[derive(Clone)]
pub(super) struct Page {
    /// The text between the places where the path of the page is filled in.
    pieces: Arc<[String]>,
    stylesheet: Bytes,
}

const TEMPLATE: &str = include_str!("page/page.html");

// === impl PageSettings ===

impl Default for PageSettings {
    fn default() -> Self {
        Self { title: "API keys".to_owned(), stylesheet: String::new(), sign_in_link: None, key_field: None }
    }
}

// === impl KeyField ===

impl KeyField {
    /// Returns the first private header of the policy, or else its first header that no browser
    /// sends by itself.
    pub(super) fn of(policy: &SchemePolicy) -> Option<Self> {
        let sendable = || policy.schemes().iter().filter(|scheme| !scheme.is_ambient());
        let private = sendable().filter(|scheme| !scheme.is_in_authorization());
        private.chain(sendable()).find_map(Self::of_scheme)
    }

    fn of_scheme(scheme: &Scheme) -> Option<Self> {
        let Carrier::Header(name) = scheme.place() else { return None };
        Some(Self { name: (**name).to_owned(), word: scheme.word().unwrap_or_default().to_owned() })
    }
}

// === impl Page ===

impl Page {
    pub(super) fn new(settings: &PageSettings) -> Self {
        let field = settings.key_field.as_ref();
        let fill = |text: &str| {
            let values = [
                ("{{title}}", Some(&*settings.title)),
                ("{{sign-in}}", Some(if field.is_some() { "key" } else { "host" })),
                ("{{key-header}}", field.map(|field| &*field.name)),
                ("{{key-word}}", field.map(|field| &*field.word)),
                ("{{sign-in-link}}", settings.sign_in_link.as_deref()),
            ];
            filled(text, &values)
        };
        let pieces = TEMPLATE.split("{{base}}").map(fill).collect();
        Self { pieces, stylesheet: settings.stylesheet.clone().into() }
    }

    pub(super) fn route<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        let pieces = Arc::clone(&self.pieces);
        let show = async move |OriginalUri(uri): OriginalUri| Html(pieces.join(&escaped(&base(uri.path()))));
        get(show).layer(map_response(secured))
    }

    pub(super) fn stylesheet(&self) -> Bytes {
        self.stylesheet.clone()
    }
}

/// Returns the path of the router, relative to the address of the page. So the page works at
/// `/keys` and at `/keys/`, and behind a proxy that removes a prefix.
fn base(path: &str) -> String {
    match path.rsplit('/').next() {
        None | Some("") => String::new(),
        Some(last) => format!("./{last}/"),
    }
}

/// Replaces each name in `text` once, from left to right: a value is never read again.
fn filled(text: &str, values: &[(&str, Option<&str>)]) -> String {
    let mut filled = String::new();
    let mut left = text;
    while let Some(start) = left.find("{{") {
        let (before, rest) = left.split_at(start);
        filled.push_str(before);
        let known = values.iter().find(|(name, _)| rest.starts_with(name));
        let (name, value) = known.map_or(("{{", Some("{{")), |(name, value)| (*name, *value));
        filled.push_str(&escaped(value.unwrap_or_default()));
        left = &rest[name.len()..];
    }
    filled + left
}

/// Escapes a text for markup and for attributes in quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
