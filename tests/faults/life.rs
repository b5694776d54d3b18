//! The life of keys: faults of imports, events, searches by text and webhooks, by their kinds.

mod bounds;
mod history;
mod imports;
mod oracles;
#[cfg(feature = "webhooks")]
mod webhooks;
