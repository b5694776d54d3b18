//! The credentials that a gateway removes from a request before it forwards it.
//!
//! A key among the protocols of a WebSocket client stays: the server has to select a protocol that
//! the client has offered.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{
    layer::ApiKeyLayer,
    scheme::{KEY_LEN_LIMIT, Reader},
};

/// Finds the credentials of a layer's policy.
#[derive(Clone, Debug)]
pub(super) struct Stripper {
    /// Every layer has one that can be built.
    reader: Option<Reader>,
    /// Every header that may carry a key.
    names: Vec<HeaderName>,
}

/// What to change in a request, so that it has no credential of the policy.
#[derive(Debug, Default)]
pub(super) struct Stripped {
    /// The headers to remove.
    pub(super) headers: Vec<HeaderName>,
    /// The headers to replace: the cookies without that of the key.
    pub(super) replaced: Vec<(HeaderName, HeaderValue)>,
    /// The parameters to remove from the query.
    pub(super) parameters: Vec<String>,
}

impl Stripper {
    pub(super) fn new(layer: &ApiKeyLayer) -> Self {
        let policy = layer.schemes();
        Self { reader: Reader::new(policy, KEY_LEN_LIMIT).ok(), names: policy.header_names().collect() }
    }

    /// Returns what to change in a request with these headers and this URI.
    pub(super) fn strip(&self, headers: &HeaderMap, uri: &Uri) -> Stripped {
        let Some(reader) = &self.reader else {
            return Stripped { headers: self.names.clone(), ..Stripped::default() };
        };
        let (mut left, mut uri_left) = (headers.clone(), uri.clone());
        reader.hide(&mut left, &mut uri_left);
        let mut stripped = Stripped::default();
        for name in &self.names {
            let (before, after) = (headers.get_all(name), left.get_all(name));
            if before.iter().eq(after.iter()) {
                continue;
            }
            let mut lines = after.iter();
            match (lines.next(), lines.next()) {
                (Some(line), None) => stripped.replaced.push((name.clone(), line.clone())),
                (None | Some(_), _) => stripped.headers.push(name.clone()),
            }
        }
        // The names as they are written: Envoy compares them without decoding.
        let pairs =
            |uri: &Uri| -> Vec<String> { uri.query().unwrap_or_default().split('&').map(str::to_owned).collect() };
        let kept = pairs(&uri_left);
        let removed = pairs(uri).into_iter().filter(|pair| !kept.contains(pair));
        stripped.parameters = removed.map(|pair| pair.split('=').next().unwrap_or_default().to_owned()).collect();
        stripped.parameters.dedup();
        stripped
    }
}
