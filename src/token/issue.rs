//! Issues a token: checks that it is a subset of its key, and writes it.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{
    IssuedToken, MAX_TOKEN_LEN, NewToken, TokenError, Tokens,
    open::{HEAD_LEN, TAG_LEN, VERSION},
    restrictions::{Restrictions, TooLong},
};
use crate::{
    address::is_within,
    key::{ApiKey, Hmac, KeyDigest},
    principal::Principal,
    record::KeyRecord,
};

impl Tokens {
    /// Issues a token of the principal's key. It may do at most what the principal may do now, and
    /// ends with its key at the latest.
    ///
    /// Nothing is stored. At each use, the layer looks up the record of the *key*. So the token
    /// ends when the key is revoked, regenerated or expired, or is rehashed under another pepper. A
    /// disabled key pauses its tokens.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::{Permissions, Principal, token::{IssuedToken, NewToken, TokenError, Tokens}};
    ///
    /// /// A token for the browser of a user, which can only upload files.
    /// fn upload_token(tokens: &Tokens, key: &Principal) -> Result<IssuedToken, TokenError> {
    ///     let new = NewToken::lasting(Duration::from_secs(300));
    ///     tokens.issue(key, new.permissions(Permissions::new().grant("files", "create")))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if the key has fewer permissions or addresses, if the lifetime is
    /// out of range, if the principal itself came by a token, if the key has expired, and if the
    /// token would be too long.
    pub fn issue(&self, principal: &Principal, new: NewToken) -> Result<IssuedToken, TokenError> {
        let NewToken { lifetime, restrictions } = new;
        let record = principal.record();
        check(record, &restrictions)?;
        let max = self.0.max_lifetime;
        if lifetime < Duration::from_secs(1) || lifetime > max {
            return Err(TokenError::Lifetime { max });
        }
        let now = self.0.clock.now();
        let end = now.checked_add(lifetime).ok_or(TokenError::Lifetime { max })?;
        let end = record.expires_at().map_or(end, |key_end| key_end.min(end));
        let seconds = end.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| TokenError::KeyExpires)?.as_secs();
        let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        if expires_at <= now {
            return Err(TokenError::KeyExpires);
        }
        let text = self.write(record.digest(), seconds, &restrictions).map_err(|TooLong| TokenError::TooLong)?;
        Ok(IssuedToken {
            text,
            expires_at,
            #[cfg(feature = "admin-api")]
            lifetime: expires_at.duration_since(now).unwrap_or_default(),
        })
    }

    /// Writes a token with its MAC.
    pub(super) fn write(
        &self,
        digest: &KeyDigest,
        ends_at: u64,
        restrictions: &Restrictions,
    ) -> Result<ApiKey, TooLong> {
        // A vector that grows leaves a copy of its content behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_TOKEN_LEN));
        bytes.extend_from_slice(&[VERSION, restrictions.flags().byte()]);
        bytes.extend_from_slice(digest.as_bytes());
        bytes.extend_from_slice(&ends_at.to_be_bytes());
        debug_assert_eq!(bytes.len(), HEAD_LEN);
        restrictions.write(&mut bytes)?;
        self.seal(bytes)
    }

    /// Appends the MAC and encodes the token.
    pub(super) fn seal(&self, mut bytes: Zeroizing<Vec<u8>>) -> Result<ApiKey, TooLong> {
        let code = self.0.newest.digest(&Hmac::padded(&bytes));
        bytes.extend_from_slice(&code[..TAG_LEN]);
        if self.prefix().len() + encoded_len(bytes.len()) > MAX_TOKEN_LEN {
            return Err(TooLong);
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_TOKEN_LEN));
        text.push_str(self.prefix());
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        ApiKey::new(text.as_str()).map_err(|_| TooLong)
    }
}

/// Returns the length of this many bytes in base64 without padding.
pub(super) const fn encoded_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Fails if the token could do more than its key.
fn check(record: &KeyRecord, restrictions: &Restrictions) -> Result<(), TokenError> {
    let Restrictions { permissions, addresses } = restrictions;
    if record.token_ends_at().is_some() {
        return Err(TokenError::FromToken);
    }
    if let Some((resource, action)) = permissions.as_ref().and_then(|asked| record.permissions().first_beyond(asked)) {
        return Err(TokenError::PermissionNotHeld { resource: resource.to_owned(), action: action.clone() });
    }
    if addresses.is_some() && !is_within(addresses.as_deref(), record.allowed_addresses()) {
        return Err(TokenError::AddressNotAllowed);
    }
    Ok(())
}
