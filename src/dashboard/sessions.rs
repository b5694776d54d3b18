//! The open sessions that began with a key. Each request reads the key again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, request::Parts};

use super::cookies::SessionCookie;
use crate::{
    key::{ApiKey, FormatError, KeyDigest, KeyFormat, KeyHasher},
    layer::ApiKeyLayer,
    manage::{Actor, KeyManager, ManageError},
    permission::Permissions,
    principal::Principal,
    record::KeyId,
};

/// The open sessions. Clones share them.
#[derive(Clone)]
pub(super) struct Sessions {
    manager: KeyManager,
    layer: ApiKeyLayer,
    cookie: SessionCookie,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    /// By the digest of the cookie; the cookie itself is not stored.
    by_cookie: HashMap<KeyDigest, Session>,
    begun: u64,
}

#[derive(Clone)]
struct Session {
    key: KeyId,
    /// The version of the key's record at the sign-in.
    version: Option<u64>,
    /// What the key could do at the sign-in.
    permissions: Permissions,
    ends_at: SystemTime,
    /// A session that began earlier has a lower number.
    number: u64,
}

pub(super) const LIFETIME: Duration = Duration::from_secs(8 * 3_600);

/// The most sessions of one key. The next sign-in ends them all and begins one new session.
const SESSIONS_PER_KEY: usize = 100;

// === impl Sessions ===

impl Sessions {
    pub(super) fn new(manager: KeyManager, layer: ApiKeyLayer, is_secure: bool) -> Result<Self, FormatError> {
        Ok(Self { manager, layer, cookie: SessionCookie::new(is_secure)?, open: Arc::default() })
    }

    /// Begins a session of this key, and ends those that the browser presents. Returns the cookie
    /// and the actor; `None` if the key was replaced: it works until its grace period ends, but
    /// cannot manage keys.
    pub(super) async fn begin(
        &self,
        headers: &HeaderMap,
        key: &Principal,
    ) -> Result<Option<(String, Actor)>, ManageError> {
        let secret = KeyFormat::new("session").and_then(|format| format.generate())?;
        let Some(actor) = self.manager.actor(key.id()).await? else { return Ok(None) };
        let permissions = key.record().permissions().clone();
        let actor = actor.in_session(&permissions);
        self.end(headers);
        let now = self.manager.clock().now();
        let mut open = self.open();
        open.by_cookie.retain(|_, session| session.ends_at > now);
        if open.by_cookie.values().filter(|session| session.key == *key.id()).count() >= SESSIONS_PER_KEY {
            open.by_cookie.retain(|_, session| session.key != *key.id());
        }
        open.begun += 1;
        let session = Session {
            key: key.id().clone(),
            version: actor.key_version(),
            permissions,
            ends_at: now + LIFETIME,
            number: open.begun,
        };
        open.by_cookie.insert(digest(&secret), session);
        Ok(Some((self.cookie.set(secret.expose(), LIFETIME), actor)))
    }

    /// Returns the actor of a request's session, as the key is now.
    pub(super) async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, ManageError> {
        for (digest, session) in self.presented(&parts.headers) {
            let actor = self.manager.actor(&session.key).await?;
            let Some(actor) = actor.filter(|actor| actor.key_version() == session.version) else {
                self.open().by_cookie.remove(&digest);
                continue;
            };
            let address = || self.layer.client_address_of(&parts.extensions, &parts.headers);
            if actor.is_accepted_from(address) {
                return Ok(Some(actor.in_session(&session.permissions)));
            }
        }
        Ok(None)
    }

    /// Ends the sessions that a browser presents. Returns the cookie that removes theirs.
    pub(super) fn end(&self, headers: &HeaderMap) -> String {
        for (digest, _) in self.presented(headers) {
            self.open().by_cookie.remove(&digest);
        }
        self.cookie.set("", Duration::ZERO)
    }

    /// Returns the sessions of a request's cookies, the oldest first.
    fn presented(&self, headers: &HeaderMap) -> Vec<(KeyDigest, Session)> {
        let digests = self.cookie.values(headers).filter_map(|secret| Some(digest(&ApiKey::new(secret).ok()?)));
        let (now, open) = (self.manager.clock().now(), self.open());
        let known = digests.filter_map(|digest| Some((digest, open.by_cookie.get(&digest)?.clone())));
        let mut known: Vec<_> = known.filter(|(_, session)| session.ends_at > now).collect();
        known.sort_by_key(|(_, session)| session.number);
        known
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(secret: &ApiKey) -> KeyDigest {
    KeyHasher::sha256().digest(secret)
}
