//! `tower-api-key serve`: one process with the management API, the dashboard, and the answers for
//! gateways.
//!
//! [`service`] makes the keys' part from the configuration, [`routes`] the routers. Each listener
//! ends gracefully after a signal.

mod demo;
mod descriptors;
mod listeners;
mod logs;
mod monitoring;
mod routes;
mod service;

use crate::{args::Global, config::Config, database::Address, exit::Failure, interrupt, output};
use demo::Demo;
use listeners::Listeners;
use service::Service;

/// Serves until a signal.
pub(crate) async fn serve(global: &Global) -> Result<(), Failure> {
    let config = Config::read(global.config.as_deref())?;
    let address = Address::read(global.database.clone(), &config.database)?;
    run(global, &config, &address, None).await
}

/// Serves a configuration for a first look.
pub(crate) async fn serve_demo(global: &Global) -> Result<(), Failure> {
    let demo = Demo::new(global)?;
    run(global, &demo.config, &demo.address, Some(&demo)).await
}

async fn run(global: &Global, config: &Config, address: &Address, demo: Option<&Demo>) -> Result<(), Failure> {
    let _log = logs::install(global.json)?;
    // A signal ends the service when its connections have ended.
    let _protection = interrupt::Protection::new();
    let metrics = monitoring::recorder(config)?;
    let service = Service::open(config, address, demo.is_some()).await?;
    let routers = routes::routers(config, &service, metrics)?;
    // Every address is bound before the first is served.
    let listeners = Listeners::bind(routers).await?;
    if let Some(demo) = demo {
        demo.print_key(&service).await?;
    }
    for (what, url) in listeners.urls() {
        output::note(&format!("{what}: {url}"));
    }
    if let Some(demo) = demo {
        demo.print_hints(&listeners);
    }
    listeners.serve(config.serve.shutdown_timeout).await;
    service.close().await
}
