//! The guide: a chapter for each task, from the first key to a cluster. Its code is compiled and run with the tests.

#![allow(clippy::doc_markdown, reason = "chapters are prose")]

#[doc = include_str!("../docs/guide/src/concepts.md")]
pub mod concepts {}

#[doc = include_str!("../docs/guide/src/getting-started.md")]
pub mod getting_started {}

#[doc = include_str!("../docs/guide/src/credentials.md")]
pub mod credentials {}

#[doc = include_str!("../docs/guide/src/authorization.md")]
pub mod authorization {}

#[doc = include_str!("../docs/guide/src/stores.md")]
pub mod stores {}

#[doc = include_str!("../docs/guide/src/managing-keys.md")]
pub mod managing_keys {}

#[doc = include_str!("../docs/guide/src/errors.md")]
pub mod errors {}

#[doc = include_str!("../docs/guide/src/observability.md")]
pub mod observability {}

#[doc = include_str!("../docs/guide/src/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/guide/src/deployment.md")]
pub mod deployment {}

#[doc = include_str!("../docs/guide/src/runbooks.md")]
pub mod runbooks {}

#[doc = include_str!("../docs/guide/src/recipes.md")]
pub mod recipes {}

#[doc = include_str!("../docs/guide/src/migrating.md")]
pub mod migrating {}

#[doc = include_str!("../docs/guide/src/security.md")]
pub mod security {}
