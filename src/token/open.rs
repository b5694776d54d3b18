//! Opens a token: decodes it, compares its MAC, and reads what it says. Knows no store and no
//! record.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::{
    MAX_TOKEN_LEN, Tokens,
    restrictions::{Flags, Restrictions},
};
use crate::key::{Hmac, KeyDigest};

/// A token whose MAC is right, and which has not expired. It is on the stack: to open a token
/// allocates nothing.
#[derive(Clone)]
pub(crate) struct OpenToken {
    /// The bytes of the token with its tag, and zeros.
    bytes: [u8; MAX_BYTES],
    /// The length without the tag.
    len: usize,
    ends_at: SystemTime,
}

/// Why a token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// It is not base64url, too short or too long; or its MAC is right and its content is unknown.
    Malformed,
    /// Its MAC is wrong.
    Forged,
    /// Its MAC is right, and it has ended.
    Expired,
}

pub(super) const VERSION: u8 = 1;
pub(super) const TAG_LEN: usize = 16;

/// Before the restrictions: version, flags, digest of the key, end in seconds since 1970.
pub(super) const HEAD_LEN: usize = 2 + DIGEST_LEN + 8;
const DIGEST_LEN: usize = 32;

/// The most bytes that a token can have in base64.
const MAX_BYTES: usize = MAX_TOKEN_LEN / 4 * 3;

// === impl Tokens ===

impl Tokens {
    /// Returns whether a text claims to be a token of this service. A key that has the same prefix
    /// does too.
    #[inline]
    pub(crate) fn claims(&self, text: &[u8]) -> bool {
        text.starts_with(self.prefix().as_bytes())
    }

    /// Opens a token. The MAC is compared before the content is read, in constant time.
    pub(crate) fn open(&self, text: &[u8], now: SystemTime) -> Result<OpenToken, Unopened> {
        let encoded = text.strip_prefix(self.prefix().as_bytes()).ok_or(Unopened::Malformed)?;
        if text.len() > MAX_TOKEN_LEN {
            return Err(Unopened::Malformed);
        }
        // The engine rejects padding and bits after the last byte, so that no second text is the
        // same token.
        let mut bytes = [0; MAX_BYTES];
        let decoded = URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).map_err(|_| Unopened::Malformed)?;
        let len = decoded.checked_sub(TAG_LEN).filter(|len| *len >= HEAD_LEN).ok_or(Unopened::Malformed)?;
        let (body, tag) = bytes[..decoded].split_at(len);
        let (padded, tag) = (Hmac::padded(body), tag_of(tag));
        let is_made_by = |mac: &Hmac| bool::from(tag_of(&mac.digest(&padded)).ct_eq(&tag));
        if !(is_made_by(&self.0.newest) || self.0.older.iter().any(is_made_by)) {
            return Err(Unopened::Forged);
        }
        let ends_at = ends_at(body).ok_or(Unopened::Malformed)?;
        if now >= ends_at { Err(Unopened::Expired) } else { Ok(OpenToken { bytes, len, ends_at }) }
    }
}

/// Returns the first bytes of a MAC as a number: comparing two slices takes a step for each byte.
fn tag_of(mac: &[u8]) -> u128 {
    mac.first_chunk::<TAG_LEN>().map_or(0, |tag| u128::from_be_bytes(*tag))
}

/// Returns the end of a token, unless its version or a flag is unknown.
fn ends_at(body: &[u8]) -> Option<SystemTime> {
    let [VERSION, flags, ..] = *body else { return None };
    Flags::parse(flags)?;
    let seconds: [u8; 8] = body.get(HEAD_LEN - 8..HEAD_LEN)?.try_into().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_be_bytes(seconds)))
}

// === impl OpenToken ===

impl OpenToken {
    /// Returns the digest of the key that the token was made from.
    pub(crate) fn key_digest(&self) -> KeyDigest {
        let mut digest = [0; DIGEST_LEN];
        digest.copy_from_slice(&self.bytes[2..2 + DIGEST_LEN]);
        digest.into()
    }

    /// Returns the first instant at which the token is rejected as expired.
    pub(crate) fn ends_at(&self) -> SystemTime {
        self.ends_at
    }

    /// Returns the MAC. No two tokens with different content have the same one.
    pub(crate) fn tag(&self) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&self.bytes[self.len..self.len + TAG_LEN]);
        tag
    }

    /// Returns the restrictions of the token, compared with its key.
    pub(crate) fn restrictions(&self) -> Result<Restrictions, Unopened> {
        let flags = Flags::parse(self.bytes[1]).ok_or(Unopened::Malformed)?;
        Restrictions::parse(flags, &self.bytes[HEAD_LEN..self.len]).ok_or(Unopened::Malformed)
    }
}
