//! Code that the examples share: the address to listen on, shutdown, and the first keys of a store.
#![allow(dead_code, reason = "each example uses a part of it")]

use std::{env, fmt::Display, io};

use tokio::{net::TcpListener, signal};
use tower_api_key::manage::Issued;

/// Listens on `ADDR` (default 127.0.0.1:3000). Returns the listener and its URL.
pub(crate) async fn listen() -> io::Result<(TcpListener, String)> {
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

/// Completes on Ctrl-C, and on Unix also on SIGTERM.
pub(crate) async fn stopped() {
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

/// Prints the keys in plain text. This is the only time: the store keeps their digests.
pub(crate) fn print_keys<N: Display>(keys: &[(N, Issued)]) {
    for (name, issued) in keys {
        println!("key {name}: {}", issued.key().expose());
    }
}

/// Returns the line above the printed curl lines. Only the first start with a database prints keys.
pub(crate) fn heading<N>(keys: &[(N, Issued)], database: &str) -> String {
    let hint =
        if keys.is_empty() { format!("The first start printed the keys of {database}. ") } else { String::new() };
    hint + "Try:"
}
