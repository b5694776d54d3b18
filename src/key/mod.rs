//! The key itself: making it, checking its form, hashing it, showing a part of it.
//!
//! Plain text of a key exists in the presented request and in the answer that issues it, nowhere else: a store sees
//! a [`KeyDigest`], a log sees nothing.
//!
//! # Why a fast hash
//!
//! A password is short and guessable, so its hash must be slow to make guessing expensive. A key of this crate has at
//! least 128 random bits (214 by default): trying 2^128 keys is out of reach at any speed, and a slow hash would only cost the service
//! time on every request. The reverse holds too: **do not store passwords, or keys that people choose, under these hashes.**
//!
//! # What is hidden from a timing observer
//!
//! Digests are compared in constant time, wherever they are compared. An unknown key is hashed, looked up and compared as a known one
//! is, against a dummy record; what follows for a known one, its status and times, is a few nanoseconds more. A store that reads a row has much more to
//! do for a known key: so those in SQLite and PostgreSQL read another key's row for an unknown one, and say in their documentation what was measured. A store of
//! your own may tell the two apart by its time.
//!
//! What a map or a database index may still tell by its timing is something about the *digest* of the presented key. That is of no use: who
//! cannot invert SHA-256 cannot choose the next guess by it. Without a pepper an attacker can compute digests, and so
//! choose which bucket of a map a wrong key falls into; that lengthens only the attacker's own look-ups by a few comparisons,
//! since nothing that an attacker presents is ever inserted. With a pepper ([`KeyHasher::hmac_sha256`]) not even that is possible.
//!
//! Not hidden, because it is no secret: the length of the presented key, whether it has the right form, and which scheme carried it.

mod api_key;
mod checksum;
mod digest;
mod format;
mod hasher;
mod mask;
mod sha256;
mod strength;

pub(crate) use checksum::base62_number;
pub(crate) use format::random_base62;

pub use api_key::{ApiKey, InvalidKey};
pub(crate) use digest::Digests;
pub use digest::{InvalidDigest, KeyDigest};
pub use format::{FormatError, KeyFormat};
pub use hasher::{KeyHasher, PepperTooShort};
pub use mask::Mask;
pub(crate) use sha256::Padded;
pub(crate) use strength::estimated_bits;
