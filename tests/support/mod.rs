//! What every test file may use: requests, a store that fails, a clock, and one API over them.
//!
//! [`TestApi::call`] checks what holds for every answer. A rejection has `no-store`, a 401 has a
//! challenge, and no rejected request reaches the inner service. Every request has one decision,
//! and no text shows a key.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "every test file uses a part of it")]

pub mod bounds;
mod clock;
pub mod edits;
#[cfg(feature = "limits")]
pub mod failing_meters;
mod fault;
pub mod logs;
#[cfg(feature = "limits")]
pub mod meter_clock;
#[cfg(feature = "limits")]
pub mod meters;
pub mod registry;
mod requests;
mod test_api;
mod until;
#[cfg(feature = "webhooks")]
pub mod webhooks;

pub use clock::{TestClock, t0};
pub use fault::{Access, Fault, FaultyStore};
pub use requests::{LIVE, UNKNOWN, add, bare, bearer, get, method, path, with, x_api_key};
pub use test_api::{Answer, Api, App, Body, Observed, TestApi, accepted, boxed, passed, refused};
pub use until::{until, until_within};
