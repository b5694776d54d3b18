//! P, R9 and R20: a guard's answer is the strictest over every reading of a path, and says what was missing.

mod hosts;
mod missing;
#[cfg(feature = "axum")]
mod readers;
mod readings;
