//! Tests short-lived tokens: a token may do a part of what its key may do, for a short time.

#[cfg(all(feature = "admin-api", feature = "testkit"))]
mod endpoint;
#[cfg(all(feature = "admin-api", feature = "testkit"))]
mod exchange;
#[cfg(feature = "testkit")]
mod issue;
mod managed;
#[cfg(all(feature = "admin-api", feature = "testkit"))]
mod refused_keys;
mod requests;

use std::time::Duration;

use tower_api_key::token::{TokenSecret, Tokens};

use crate::support::TestClock;

const MINUTE: Duration = Duration::from_secs(60);

fn secret(byte: u8) -> TokenSecret {
    TokenSecret::new(&[byte; 32]).unwrap()
}

/// Returns the tokens of a service whose time is that of `clock`.
fn tokens(clock: &TestClock) -> Tokens {
    let now = clock.clone();
    Tokens::new("acme_tok", secret(7)).unwrap().clock(move || now.get())
}
