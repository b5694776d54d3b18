//! Runs the examples as processes, with the clients of their users: curl, Python, Node, PHP, a
//! browser.
#![allow(clippy::incompatible_msrv, reason = "tests run on the current toolchain")]
#![cfg(all(feature = "admin-api", feature = "sqlite"))]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/example.rs"]
mod example;
#[path = "../support/mod.rs"]
mod support;

mod clients;
#[cfg(all(feature = "dashboard", feature = "limits"))]
mod dashboard;
#[cfg(feature = "client")]
mod examples;
#[cfg(all(feature = "gateway-grpc", feature = "limits"))]
mod gateways;
#[cfg(feature = "limits")]
mod http2_streams;
mod multi_process;
mod nginx;
#[path = "../support/nginx.rs"]
mod nginx_server;
#[cfg(feature = "limits")]
mod streams;
#[cfg(all(unix, feature = "valkey"))]
mod valkey;
#[cfg(all(unix, feature = "valkey"))]
#[path = "../support/valkey.rs"]
mod valkey_server;
mod websocket;
