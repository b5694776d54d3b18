//! Hopx: `X-API-Key` or `Authorization: Bearer`, exact error bodies, live and test keys.
//!
//! ```sh
//! cargo run --example either
//! curl -H 'X-API-Key: KEY' http://127.0.0.1:3000/v1/sandboxes                     # 200
//! curl -H 'Authorization: Bearer KEY' http://127.0.0.1:3000/v1/sandboxes          # 200
//! curl -X POST -H 'X-API-Key: KEY' -H 'Content-Type: application/json' \
//!   -d '{"template_id": "52", "timeout_seconds": 3600}' http://127.0.0.1:3000/v1/sandboxes    # 201
//! curl http://127.0.0.1:3000/v1/sandboxes    # 401 {"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}
//! ```

use std::{env, error::Error};

use axum::{Json, Router, body::Bytes, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ConfigError, Conflict, KeyFormat, KeyHasher, KeyRecord, Principal, RejectionFormat, Require,
    Scheme, SchemePolicy, key::FormatError, store::MemoryStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (store, keys) = keys()?;
    for (name, key) in &keys {
        println!("key {name}: {}", key.expose());
    }

    let app = app(store)?;

    let address = env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n\nTry:");
    for ((name, key), status) in keys.iter().zip([200, 200, 401, 401]) {
        println!("  curl -H 'X-API-Key: {}' {url}/v1/sandboxes   # {status}: {name}", key.expose());
    }
    let [(_, live), (_, limited), ..] = &keys;
    println!("  curl -H 'Authorization: Bearer {}' {url}/v1/sandboxes   # 200: live", live.expose());
    let create = format!("-H 'Content-Type: application/json' -d '{{\"template_id\": \"52\"}}' {url}/v1/sandboxes");
    println!("  curl -H 'X-API-Key: {}' {create}   # 201: live", live.expose());
    println!("  curl -H 'X-API-Key: {}' {create}   # 403: limited\n", limited.expose());
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

/// Live keys begin with `hopx_live_`, test keys with `hopx_test_`.
fn formats() -> Result<[KeyFormat; 2], FormatError> {
    Ok([KeyFormat::new("hopx_live")?, KeyFormat::new("hopx_test")?])
}

/// Keys by the names under which they are printed.
type Keys = [(&'static str, ApiKey); 4];

/// Three keys of the organization that is served here, and one of another.
pub(crate) fn keys() -> Result<(MemoryStore, Keys), Box<dyn Error>> {
    let ([live, test], hasher) = (formats()?, KeyHasher::sha256());
    let keys = [
        ("live", live.generate()?),
        ("limited", live.generate()?),
        ("test", test.generate()?),
        ("foreign", live.generate()?),
    ];
    let store = MemoryStore::new();
    for (name, key) in &keys {
        let (environment, organization) = match *name {
            "test" => ("test", "acme"),
            "foreign" => ("live", "globex"),
            _ => ("live", "acme"),
        };
        let record = KeyRecord::for_key(*name, key, &hasher)
            .with_environment(environment)
            .with_organization(organization)
            .grant("sandboxes", "read");
        store.insert(match *name {
            "limited" => record,
            _ => record.grant("sandboxes", "create"),
        })?;
    }
    Ok((store, keys))
}

/// Production, for one organization: test keys, and the keys of others, are 401.
pub(crate) fn app(store: MemoryStore) -> Result<Router, Box<dyn Error>> {
    let auth = ApiKeyLayer::builder(store)
        .schemes(SchemePolicy::new([Scheme::x_api_key(), Scheme::bearer()]).on_conflict(Conflict::EqualKeysCountOnce))
        .formats(formats()?)
        .environments(["live"])
        .organization("acme")
        .rejection_format(RejectionFormat::json())
        .realm("hopx")
        .build()?;
    Ok(routes()?.layer(auth))
}

fn routes() -> Result<Router, ConfigError> {
    let sandboxes = get(list).post(create).layer(Require::by_method("sandboxes"));
    let own = Require::organization_in_path("/v1/organizations/{organization}")?;
    let of_organization = get(list).layer(Require::all([own, Require::by_method("sandboxes")]));
    Ok(Router::new()
        .route("/v1/sandboxes", sandboxes)
        .route("/v1/organizations/{organization}/sandboxes", of_organization))
}

async fn list(key: Principal) -> Json<Value> {
    Json(json!({ "organization": key.organization(), "sandboxes": [] }))
}

async fn create(key: Principal, body: Bytes) -> (StatusCode, Json<Value>) {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let made = json!({ "id": "sbx_1", "template_id": asked["template_id"], "made_by": key.id().as_str() });
    (StatusCode::CREATED, Json(made))
}

const ADDR: &str = "127.0.0.1:3000";

/// Ctrl-C, or SIGTERM where there is one.
async fn stopped() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    let _ = signal::ctrl_c().await;
}
