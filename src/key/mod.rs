//! Keys: generate them, check their format, hash them, mask them.
//!
//! The plain text of a key exists only in the presented request and in the response that issues it.
//! A store gets a [`KeyDigest`], and a log gets no part of a key.
//!
//! # Why a fast hash
//!
//! Passwords are short and guessable, so a slow hash has to make guessing expensive. A key of this
//! crate has at least 128 random bits (214 by default). Trying 2^128 keys is infeasible at any
//! speed, so a slow hash would only cost time on every request. The reverse holds too: **do not
//! store passwords, or keys that people choose, under these hashes.**
//!
//! # Timing
//!
//! Digests are compared in constant time everywhere. An unknown key is hashed and looked up like a
//! known one, and compared with a dummy record. For a known key, the check of status and times adds
//! a few nanoseconds. Reading a row from a database takes much longer, so the SQLite and PostgreSQL
//! stores read another row for an unknown key; their documentation has the measurements. A store of
//! your own may reveal by its response time whether a key is known.
//!
//! The timing of a map or a database index may reveal something about the *digest* of the presented
//! key. An attacker who cannot invert SHA-256 cannot use that to choose the next guess. Without a
//! pepper, an attacker can compute digests, and choose wrong keys that all select the same bucket
//! of a map. That slows down only the attacker's own lookups, since a presented key is never
//! inserted. A pepper ([`KeyHasher::hmac_sha256`]) prevents that too.
//!
//! The length of the presented key, whether it has the right format, and its scheme are not secret
//! and not hidden.

mod api_key;
mod base62;
mod checksum;
mod common_words;
mod digest;
mod format;
mod format_error;
mod hasher;
mod mask;
mod pattern;
mod sha256;
mod shape;
mod strength;

pub use api_key::{ApiKey, InvalidKey};
#[cfg(any(feature = "cache", feature = "limits"))]
pub(crate) use base62::random_bytes;
pub(crate) use base62::{base62_number, random_base62};
pub(crate) use digest::Digests;
pub use digest::{InvalidDigest, KeyDigest};
pub use format::KeyFormat;
pub use format_error::FormatError;
pub(crate) use hasher::PreparedKey;
pub use hasher::{KeyHasher, PepperTooShort};
pub use mask::{InvalidMask, Mask};
pub(crate) use sha256::Hmac;
#[cfg(any(feature = "leak-reports", feature = "postgres-no-tls"))]
pub(crate) use sha256::sha256;
pub(crate) use strength::estimated_bits;
