//! P, R9 and R20: a guard's answer is the strictest over every reading of a path, and says what was missing.

#[cfg(feature = "axum")]
mod readers;
mod readings;
