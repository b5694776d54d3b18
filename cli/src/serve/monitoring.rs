//! Health and metrics, on an address of their own: they need no key.

use std::time::Duration;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::{self, timeout};
use tower_api_key::KeyManager;

use crate::{config::Config, exit::Failure};

/// How long the database has to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often old samples of histograms are dropped.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the recorder of the metrics, if they are served.
pub(super) fn recorder(config: &Config) -> Result<Option<PrometheusHandle>, Failure> {
    if config.serve.monitoring.is_none() {
        return Ok(None);
    }
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::Failed(format!("cannot record metrics: {error}")))?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(Some(handle))
}

/// `/healthz`: the process answers. `/readyz`: the database answers. `/metrics`: for Prometheus.
pub(super) fn router(manager: KeyManager, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get("ok\n"))
        .route("/readyz", get(ready).with_state(manager))
        .route("/metrics", get(async move || metrics.render()))
}

async fn ready(State(manager): State<KeyManager>) -> (StatusCode, &'static str) {
    match timeout(TIMEOUT, manager.newest_event()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n"),
        Ok(Err(_)) => (StatusCode::SERVICE_UNAVAILABLE, "the database failed\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
