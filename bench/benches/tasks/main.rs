//! The same two tasks with this library and with others. `python3 bench/tasks.py` counts the lines.
//!
//! - First route: every request needs the key in `API_KEY`, as a Bearer token. Any other request gets 401.
//! - Several keys: `READER_KEY` may read, `WRITER_KEY` may read and create. A missing or unknown key gets 401, a key
//!   without the permission gets 403.
//!
//! ```sh
//! cargo bench --bench tasks    # checks that each program does its task
//! ```
#![allow(deprecated, reason = "ValidateRequestHeaderLayer::bearer is deprecated, and still the shortest")]
#![allow(clippy::result_large_err, reason = "the traits of tower-http return a whole response as the error")]
#![allow(clippy::unnecessary_wraps, reason = "all programs have one signature")]

use std::{env, error::Error, process::Command};

use axum::{
    Router,
    body::Body,
    http::{Request, header::AUTHORIZATION},
};
use tower::ServiceExt;

mod open;
mod first_route {
    pub mod axum_login;
    pub mod from_fn;
    pub mod ours;
    pub mod tower_http_async;
    pub mod tower_http_validate;
}
mod several_keys {
    pub mod axum_login;
    pub mod from_fn;
    pub mod ours;
    pub mod tower_http_async;
    pub mod tower_http_validate;
}

type App = Result<Router, Box<dyn Error>>;

const KEYS: [(&str, &str); 3] = [
    ("API_KEY", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"),
    ("READER_KEY", "f2mS8wqLr0TnXbV6yKcE3uJdPa7GhZ"),
    ("WRITER_KEY", "Hk9RzVtQe4YxNm1CwLb6JpSd8UgFo2"),
];

/// Who asks, and the statuses of GET and POST.
type Case = (Option<&'static str>, [u16; 2]);

const OPEN: &[Case] = &[(None, [200, 200])];
const FIRST_ROUTE: &[Case] = &[(Some(KEYS[0].1), [200, 200]), (None, [401, 401]), (Some("unknown"), [401, 401])];
const SEVERAL_KEYS: &[Case] =
    &[(Some(KEYS[1].1), [200, 403]), (Some(KEYS[2].1), [200, 200]), (None, [401, 401]), (Some("unknown"), [401, 401])];

fn main() -> Result<(), Box<dyn Error>> {
    if env::var_os("API_KEY").is_none() {
        let status = Command::new(env::current_exe()?).envs(KEYS).status()?;
        std::process::exit(status.code().unwrap_or(1));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        does("open", open::app(), OPEN).await?;
        does("first route, ours", first_route::ours::app(), FIRST_ROUTE).await?;
        does("first route, tower-http validate", first_route::tower_http_validate::app(), FIRST_ROUTE).await?;
        does("first route, tower-http async", first_route::tower_http_async::app(), FIRST_ROUTE).await?;
        does("first route, axum-login", first_route::axum_login::app(), FIRST_ROUTE).await?;
        does("first route, from_fn", first_route::from_fn::app(), FIRST_ROUTE).await?;
        does("several keys, ours", several_keys::ours::app(), SEVERAL_KEYS).await?;
        does("several keys, tower-http validate", several_keys::tower_http_validate::app(), SEVERAL_KEYS).await?;
        does("several keys, tower-http async", several_keys::tower_http_async::app(), SEVERAL_KEYS).await?;
        does("several keys, axum-login", several_keys::axum_login::app(), SEVERAL_KEYS).await?;
        does("several keys, from_fn", several_keys::from_fn::app(), SEVERAL_KEYS).await
    })
}

/// Sends each case's requests and compares the statuses.
async fn does(name: &str, app: App, cases: &[Case]) -> Result<(), Box<dyn Error>> {
    let app = app?;
    for (key, expected) in cases {
        for (method, expected) in ["GET", "POST"].into_iter().zip(expected) {
            let mut request = Request::builder().method(method).uri("/links");
            if let Some(key) = key {
                request = request.header(AUTHORIZATION, format!("Bearer {key}"));
            }
            let response = app.clone().oneshot(request.body(Body::empty())?).await?;
            assert_eq!(response.status(), *expected, "{name}: {method} with {key:?}");
        }
    }
    println!("{name}: ok");
    Ok(())
}
