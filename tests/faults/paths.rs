//! P, R9, R20: a guard applies the strictest result over all readings of a path, and reports the
//! missing permission.

mod hosts;
mod missing;
#[cfg(feature = "axum")]
mod readers;
mod readings;
