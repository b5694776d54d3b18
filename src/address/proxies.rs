//! The proxies whose headers are read.

use std::{net::IpAddr, sync::Arc};

use super::Network;
use crate::error::ConfigError;

/// The networks of the trusted proxies.
#[derive(Clone, Debug)]
pub(crate) struct Proxies(Arc<[Network]>);

/// How many listed proxies a request may pass.
pub(crate) const MOST_PROXIES: usize = 32;

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
}
