//! `Vary`: the request headers that may carry a key, since a response depends on them (RFC 9110
//! §12.5.5).

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::VARY};

use super::{SchemePolicy, grammar::trim_ows};

/// The headers of a policy, as one value. It is built once, when the layer is built.
#[derive(Debug)]
pub(crate) struct Vary {
    names: Vec<HeaderName>,
    /// `None` if keys are read only from the query: a cache compares the URI anyway.
    value: Option<HeaderValue>,
}

impl Vary {
    pub(crate) fn new(policy: &SchemePolicy) -> Self {
        let names: Vec<HeaderName> = policy.header_names().collect();
        let value = (!names.is_empty()).then(|| interned(&join(&names)));
        Self { names, value: value.flatten() }
    }

    /// Adds the headers to the `Vary` of a response.
    #[inline]
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Some(value) = &self.value else { return };
        // `HeaderMap::entry` takes twice as long.
        if headers.contains_key(VARY) {
            self.merge(value, headers);
        } else {
            headers.insert(VARY, value.clone());
        }
    }

    /// Merges into one line, without repeating a name. A `*` already includes every name.
    #[cold]
    fn merge(&self, value: &HeaderValue, headers: &mut HeaderMap) {
        let lines: Vec<&[u8]> = headers.get_all(VARY).iter().map(HeaderValue::as_bytes).collect();
        let listed = || lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).map(trim_ows);
        if listed().any(|name| name == b"*") {
            return;
        }
        let is_missing = |name: &&HeaderName| !listed().any(|listed| listed.eq_ignore_ascii_case(name.as_ref()));
        let missing: Vec<&HeaderName> = self.names.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return;
        }
        let missing = join(missing);
        let all = lines.into_iter().filter(|line| !trim_ows(line).is_empty()).chain([missing.as_bytes()]);
        let merged = HeaderValue::from_bytes(&all.collect::<Vec<_>>().join(&b", "[..]));
        headers.insert(VARY, merged.unwrap_or(value.clone()));
    }
}

fn join(names: impl IntoIterator<Item: AsRef<str>>) -> String {
    names.into_iter().map(|name| name.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}

/// Returns a header value over static bytes. Every accepted response gets a copy, and copying
/// static bytes changes no reference count.
///
/// Each distinct value is kept until the process ends. Values come from configuration, so there are
/// few.
fn interned(names: &str) -> Option<HeaderValue> {
    static INTERNED: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut all = INTERNED.lock().unwrap_or_else(PoisonError::into_inner);
    let interned = all.get(names).copied().unwrap_or_else(|| names.to_owned().leak());
    all.insert(interned);
    HeaderValue::from_maybe_shared(Bytes::from_static(interned.as_bytes())).ok()
}
