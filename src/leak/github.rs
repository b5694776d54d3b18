//! GitHub's public keys, and the signatures of its reports.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use p256::{
    ecdsa::{Signature, VerifyingKey, signature::Verifier},
    pkcs8::DecodePublicKey,
};
use serde::Deserialize;
use thiserror::Error;

/// The public keys with which GitHub signs its reports. Clones share the list.
///
/// The list is that of `https://api.github.com/meta/public_keys/secret_scanning`. You fetch it with
/// an HTTP client of your own, at the start and then once an hour: GitHub replaces its keys, and a
/// report under a key that is not in the list is rejected.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_api_key::leak::GithubKeys;
///
/// const LIST: &str = "https://api.github.com/meta/public_keys/secret_scanning";
///
/// async fn fetch(client: &reqwest::Client) -> Result<String, reqwest::Error> {
///     // GitHub rejects requests without a user agent.
///     client.get(LIST).header("user-agent", "acme").send().await?.error_for_status()?.text().await
/// }
///
/// /// Keeps the list current. A list that cannot be fetched or read leaves the last one in force.
/// async fn follow(keys: GithubKeys, client: reqwest::Client) {
///     loop {
///         tokio::time::sleep(Duration::from_secs(3600)).await;
///         match fetch(&client).await {
///             Ok(list) => match keys.replace(&list) {
///                 Ok(()) => {}
///                 Err(error) => eprintln!("{error}"),
///             },
///             Err(error) => eprintln!("GitHub's keys: {error}"),
///         }
///     }
/// }
///
/// # async fn start(client: reqwest::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let keys = GithubKeys::from_json(&fetch(&client).await?)?;
/// tokio::spawn(follow(keys.clone(), client));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GithubKeys(Arc<RwLock<Vec<GithubKey>>>);

/// The error of a text that is no list of GitHub's public keys.
///
/// ```
/// use tower_api_key::leak::{GithubKeys, InvalidGithubKeys};
///
/// assert_eq!(GithubKeys::from_json("<html>").unwrap_err(), InvalidGithubKeys::NotAList);
/// assert_eq!(GithubKeys::from_json(r#"{"public_keys": []}"#).unwrap_err(), InvalidGithubKeys::Empty);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidGithubKeys {
    /// The text is not the JSON of a list.
    #[error(
        "not a list of GitHub's public keys: pass the body of https://api.github.com/meta/public_keys/secret_scanning"
    )]
    NotAList,
    /// The list has no keys.
    #[error("the list of GitHub's public keys is empty: every report would be rejected")]
    Empty,
}

/// The reason for which a signature is rejected. It is logged, and not returned to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadSignature {
    UnknownKey,
    NotCurrent,
    UnusableKey,
    Wrong,
}

struct GithubKey {
    identifier: String,
    is_current: bool,
    /// `None` for a key of another algorithm.
    key: Option<VerifyingKey>,
}

#[derive(Deserialize)]
struct Listed {
    public_keys: Vec<ListedKey>,
}

#[derive(Deserialize)]
struct ListedKey {
    key_identifier: String,
    key: String,
    #[serde(default)]
    is_current: bool,
}

// === impl GithubKeys ===

impl GithubKeys {
    /// Reads the list of GitHub's public keys.
    ///
    /// Only a key that is marked as current verifies reports. A key that is not an ECDSA key over
    /// P-256 verifies none, and the others of the list still do.
    ///
    /// # Errors
    ///
    /// [`InvalidGithubKeys::NotAList`] for `"<html>"` and `"[]"`; [`InvalidGithubKeys::Empty`].
    pub fn from_json(text: &str) -> Result<Self, InvalidGithubKeys> {
        Ok(Self(Arc::new(RwLock::new(read(text)?))))
    }

    /// Replaces the list, in all clones. After an error the last list stays in force.
    ///
    /// ```
    /// use tower_api_key::leak::{GithubKeys, InvalidGithubKeys};
    ///
    /// fn refresh(keys: &GithubKeys, fetched: &str) -> Result<(), InvalidGithubKeys> {
    ///     keys.replace(fetched)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`GithubKeys::from_json`].
    pub fn replace(&self, text: &str) -> Result<(), InvalidGithubKeys> {
        let keys = read(text)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Returns how many keys of the list verify reports. If it is 0, every report is rejected.
    ///
    /// ```
    /// use tower_api_key::leak::{GithubKeys, InvalidGithubKeys};
    ///
    /// let list = r#"{"public_keys": [{"key_identifier": "1", "key": "not P-256", "is_current": true}]}"#;
    /// assert_eq!(GithubKeys::from_json(list)?.usable(), 0);
    /// # Ok::<(), InvalidGithubKeys>(())
    /// ```
    pub fn usable(&self) -> usize {
        self.with(|keys| keys.iter().filter(|key| key.usable().is_ok()).count())
    }

    /// Returns the current key with this identifier.
    pub(super) fn find(&self, identifier: &str) -> Result<VerifyingKey, BadSignature> {
        self.with(|keys| {
            let found = keys.iter().find(|key| key.identifier == identifier);
            found.ok_or(BadSignature::UnknownKey)?.usable().copied()
        })
    }

    fn with<T>(&self, read: impl FnOnce(&[GithubKey]) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl GithubKey {
    fn usable(&self) -> Result<&VerifyingKey, BadSignature> {
        if self.is_current { self.key.as_ref().ok_or(BadSignature::UnusableKey) } else { Err(BadSignature::NotCurrent) }
    }
}

impl fmt::Debug for GithubKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GithubKeys").field("usable", &self.usable()).finish_non_exhaustive()
    }
}

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKey => "its key is not in the list of GitHub's public keys",
            Self::NotCurrent => "its key is not current any more",
            Self::UnusableKey => "its key is not an ECDSA key over P-256",
            Self::Wrong => "its signature is wrong",
        })
    }
}

fn read(text: &str) -> Result<Vec<GithubKey>, InvalidGithubKeys> {
    let listed: Listed = serde_json::from_str(text).map_err(|_| InvalidGithubKeys::NotAList)?;
    let keys = listed.public_keys.into_iter().map(|listed| GithubKey {
        identifier: listed.key_identifier,
        is_current: listed.is_current,
        key: VerifyingKey::from_public_key_pem(&listed.key).ok(),
    });
    let keys: Vec<_> = keys.collect();
    if keys.is_empty() { Err(InvalidGithubKeys::Empty) } else { Ok(keys) }
}

/// Checks a signature in DER (ASN.1), of ECDSA over P-256 with SHA-256.
pub(super) fn check(key: &VerifyingKey, body: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let signature = Signature::from_der(signature).map_err(|_| BadSignature::Wrong)?;
    key.verify(body, &signature).map_err(|_| BadSignature::Wrong)
}
