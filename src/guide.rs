//! The guide: one chapter for each task, from the first key to a cluster. The tests compile and run
//! its code.
//!
//! The chapters are the pages of the book in `docs/guide/`. In the book, a link to another chapter
//! ends in `.md`; here, `rustdoc-links.md` is in front of each chapter and defines the same labels
//! as paths of modules.

#![allow(clippy::doc_markdown, reason = "chapters are prose")]

macro_rules! chapters {
    ($($name:ident: $file:literal,)*) => {$(
        #[cfg_attr(not(doctest), doc = include_str!("../docs/guide/rustdoc-links.md"))]
        #[doc = include_str!(concat!("../docs/guide/src/", $file))]
        pub mod $name {}
    )*};
}

chapters! {
    concepts: "concepts.md",
    getting_started: "getting-started.md",
    credentials: "credentials.md",
    authorization: "authorization.md",
    rate_limits: "rate-limits.md",
    stores: "stores.md",
    managing_keys: "managing-keys.md",
    many_keys: "many-keys.md",
    command: "command.md",
    serve: "serve.md",
    dashboard: "dashboard.md",
    clients: "clients.md",
    tokens: "tokens.md",
    events: "events.md",
    errors: "errors.md",
    observability: "observability.md",
    testing: "testing.md",
    deployment: "deployment.md",
    gateways: "gateways.md",
    verification: "verification.md",
    runbooks: "runbooks.md",
    recipes: "recipes.md",
    migrating: "migrating.md",
    security: "security.md",
}
