//! The proxies whose headers are read.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName};

use super::Network;
use crate::error::ConfigError;

/// The networks of the trusted proxies.
#[derive(Clone, Debug)]
pub(crate) struct Proxies(Arc<[Network]>);

/// How many listed proxies a request may pass.
const MOST_PROXIES: usize = 32;

impl Proxies {
    pub(crate) fn parse<P: AsRef<str>>(proxies: impl IntoIterator<Item = P>) -> Result<Self, ConfigError> {
        let network = |proxy: P| {
            let text = proxy.as_ref();
            let wrong = |why: String| ConfigError::Proxies(text.to_owned(), why);
            match text.parse::<Network>() {
                Ok(network) if network.is_everything() => {
                    Err(wrong("every client would be a proxy: list your own".to_owned()))
                }
                parsed => parsed.map_err(|error| wrong(error.to_string())),
            }
        };
        let networks: Arc<[Network]> = proxies.into_iter().map(network).collect::<Result<_, _>>()?;
        if networks.is_empty() {
            let advice = "the list is empty: name a proxy, or read what the server itself knows";
            return Err(ConfigError::Proxies(String::new(), advice.to_owned()));
        }
        Ok(Self(networks))
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Returns the last entry of a list whose address is not a listed proxy: the client's. Returns
    /// `None` if `read` returns `None` for an entry before it is reached.
    pub(crate) fn client<'h, T>(
        &self,
        headers: &'h HeaderMap,
        list: &HeaderName,
        read: impl Fn(&'h [u8]) -> Option<(IpAddr, T)>,
    ) -> Option<(IpAddr, T)> {
        for entry in entries_from_last(headers, list).take(MOST_PROXIES) {
            let (address, rest) = read(entry)?;
            if !self.contains(address) {
                return Some((address, rest));
            }
        }
        None
    }
}

/// Returns the entries of a list from the last one, as proxies append to it. Several lines of the
/// header are one list.
pub(crate) fn entries_from_last<'h>(headers: &'h HeaderMap, list: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(list).iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
}
