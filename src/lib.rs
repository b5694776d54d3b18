//! x
#![forbid(unsafe_code)]
mod clock;
mod error;
#[cfg(feature = "axum")]
mod extract;
pub mod guard;
pub mod key;
pub mod layer;
mod observe;
mod permission;
mod principal;
mod record;
pub mod rejection;
pub mod scheme;
pub mod store;

pub use error::ConfigError;
pub use guard::Require;
pub use key::{ApiKey, KeyDigest, KeyFormat, KeyHasher, Mask};
pub use layer::ApiKeyLayer;
pub use observe::{Decision, Outcome};
pub use permission::{Action, Permissions};
pub use principal::Principal;
pub use record::{KeyId, KeyRecord, Owner, Status};
pub use rejection::{Problem, Reason, Rejection, RejectionFormat};
pub use scheme::{Conflict, Scheme, SchemePolicy};
pub use store::{KeyStore, Lookup};
