//! Limits each key by the plan in its record: a rate with a burst, a daily quota, a route that
//! costs more, and a limit for one route.
//!
//! ```sh
//! cargo run --example limits --features limits
//! ```
//!
//! It prints its keys, and these lines with the keys filled in:
//!
//! ```sh
//! curl http://127.0.0.1:3000/search -H 'X-API-Key: FREE'              # 200
//! curl http://127.0.0.1:3000/search -H 'X-API-Key: FREE'              # 429: one search a minute
//! curl -X POST http://127.0.0.1:3000/images -H 'X-API-Key: FREE'      # 200: costs 5
//! curl -X POST http://127.0.0.1:3000/images -H 'X-API-Key: FREE'      # 429: 2 of the burst are left
//! curl http://127.0.0.1:3000/limits -H 'X-API-Key: FREE'              # 200: what is left
//! curl http://127.0.0.1:3000/links -H 'X-API-Key: FREE'               # 200: the last of the burst
//! curl http://127.0.0.1:3000/links -H 'X-API-Key: FREE'               # 429: one more in 30 seconds
//! curl -X POST http://127.0.0.1:3000/images -H 'X-API-Key: PRO'       # 200: 2 of 7 are left today
//! curl -X POST http://127.0.0.1:3000/images -H 'X-API-Key: PRO'       # 429: until midnight in UTC
//! curl -X DELETE http://127.0.0.1:3000/links -H 'X-API-Key: PRO'      # 403: spends no quota
//! curl http://127.0.0.1:3000/links -H 'X-API-Key: PRO'                # 200
//! curl http://127.0.0.1:3000/limits -H 'X-API-Key: PRO'               # 200: the last one today
//! curl http://127.0.0.1:3000/links -H 'X-API-Key: PRO'                # 429: until midnight in UTC
//! curl http://127.0.0.1:3000/links                                    # 401: no key
//! ```

mod common;

use std::error::Error;

use axum::{
    Json, Router,
    routing::{get, post},
};
use serde_json::{Value, json};
use tower_api_key::{
    ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Require,
    limit::{FieldsForm, Limit, Limits, Plans, Quota, Rate, RateLimitFields},
    store::MemoryStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The keys. A record names its plan, and may have numbers of its own; `free` has the default
    // plan.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let (free, pro) = (format.generate()?, format.generate()?);
    let record = |id: &str, key| KeyRecord::for_key(id, key, &hasher).grant("links", "read").grant("images", "create");
    keys.add(record("free", &free))?;
    keys.add(record("pro", &pro).with_plan("pro").with_limit("daily", 7))?;
    println!("key free: {}\nkey pro: {}", free.expose(), pro.expose());

    // The plans, and the layer. A table checks its costs and limits against the plans.
    let plans = Plans::new()
        .plan(
            "free",
            [
                Limit::rate("burst", Rate::per_minute(2).burst(8)),
                Limit::quota("daily", Quota::per_day(100)),
                Limit::rate("search", Rate::per_minute(1)).for_routes(),
            ],
        )
        .plan(
            "pro",
            [
                Limit::rate("burst", Rate::per_second(100)),
                Limit::quota("daily", Quota::per_day(10_000)),
                Limit::rate("search", Rate::per_second(5)).for_routes(),
            ],
        )
        .default_plan("free");
    let limits = Limits::in_process(plans).build()?;
    let auth = ApiKeyLayer::builder(keys)
        .formats([format])
        .limits(limits.clone())
        .rate_limit_fields(RateLimitFields::Always(FieldsForm::Draft11))
        .build()?;
    let table = Require::table()
        .route("GET", "/links", ("links", "read"))
        .route("DELETE", "/links", ("links", "delete"))
        .route("GET", "/search", Require::permission("links", "read").limited_by("search"))
        .route("POST", "/images", Require::permission("images", "create").costs(5))
        .route("GET", "/limits", Require::authenticated())
        .build()?;

    // The routes.
    let app = Router::new()
        .route("/links", get(links).delete(links))
        .route("/search", get(links))
        .route("/images", post(create))
        .route("/limits", get(left))
        .layer(limits.checked(table)?)
        .layer(auth);

    // Serve.
    let (listener, url) = common::listen().await?;
    let (free, pro) = (format!("-H 'X-API-Key: {}'", free.expose()), format!("-H 'X-API-Key: {}'", pro.expose()));
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/search {free}   # 200");
    println!("  curl {url}/search {free}   # 429: one search a minute");
    println!("  curl -X POST {url}/images {free}   # 200: costs 5");
    println!("  curl -X POST {url}/images {free}   # 429: 2 of the burst are left");
    println!("  curl {url}/limits {free}   # 200: what is left");
    println!("  curl {url}/links {free}   # 200: the last of the burst");
    println!("  curl {url}/links {free}   # 429: one more in 30 seconds");
    println!("  curl -X POST {url}/images {pro}   # 200: 2 of 7 are left today");
    println!("  curl -X POST {url}/images {pro}   # 429: until midnight in UTC");
    println!("  curl -X DELETE {url}/links {pro}   # 403: spends no quota");
    println!("  curl {url}/links {pro}   # 200");
    println!("  curl {url}/limits {pro}   # 200: the last one today");
    println!("  curl {url}/links {pro}   # 429: until midnight in UTC");
    println!("  curl {url}/links   # 401: no key\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
    Ok(())
}

async fn links() -> Json<Value> {
    Json(json!({ "links": [7] }))
}

async fn create(key: Principal) -> Json<Value> {
    Json(json!({ "created_by": key.id().as_str() }))
}

async fn left(key: Principal) -> Json<Value> {
    let left = key.remaining().into_iter().map(|left| {
        let seconds = left.full_after.map(|time| time.as_secs());
        json!({ "limit": left.limit, "left": left.requests, "of": left.most, "full_after_seconds": seconds })
    });
    Json(left.collect())
}
