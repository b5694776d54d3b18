//! `serve --demo`: a first look, with a first key, in a database that ends with the process.

use tempfile::TempDir;
use tower_api_key::{
    Owner, Permissions,
    manage::{Actor, NewKey},
};

use super::{listeners::Listeners, service::Service};
use crate::{
    args::Global,
    config::{self, Config, GatewayProtocol},
    database::Address,
    exit::Failure,
    interrupt, output,
};

/// The configuration of the demo, also in the guide.
const CONFIG: &str = include_str!("demo.toml");

const RESOURCES: [&str; 2] = ["apiKeys", "links"];

/// A demo, and its folder if it has no database of its own.
pub(crate) struct Demo {
    pub(super) config: Config,
    pub(super) address: Address,
    /// Removed with its files when the demo ends.
    _folder: Option<TempDir>,
}

// === impl Demo ===

impl Demo {
    /// Takes `--config` and `--database` where they are given.
    pub(super) fn new(global: &Global) -> Result<Self, Failure> {
        let config = match global.config.as_deref() {
            Some(path) => Config::read(Some(path))?,
            None => config::parse("the demo", CONFIG)?,
        };
        // Not DATABASE_URL, which may name the database of a service.
        let argument = global.database.clone().filter(|_| global.has_database_argument());
        if argument.is_some() || config.database.url.is_some() {
            let address = Address::read(argument, &config.database)?;
            return Ok(Self { config, address, _folder: None });
        }
        let folder =
            tempfile::tempdir().map_err(|error| Failure::Failed(format!("no folder for the demo: {error}")))?;
        interrupt::remove_on_exit(folder.path().to_owned());
        let address = Address::Sqlite(folder.path().join("demo.db"));
        Ok(Self { config, address, _folder: Some(folder) })
    }

    /// Prints the first key, alone on its line. An empty database gets one.
    pub(super) async fn print_key(&self, service: &Service) -> Result<(), Failure> {
        let held =
            RESOURCES.iter().fold(Permissions::new(), |held, resource| held.union(&Permissions::all_of(resource)));
        let admin = Actor::trusted(Owner::User("admin".to_owned()), held.clone());
        let first = service.manager.bootstrap(&admin, NewKey::user("Administrator").permissions(held)).await?;
        let Some(first) = first else {
            output::note("the database has keys already: use one of them");
            return Ok(());
        };
        output::issued(&first, false)
    }

    /// Prints what to try, without the key: what a shell runs is seen in its history.
    pub(super) fn print_hints(&self, listeners: &Listeners) {
        let url_of = |what| listeners.urls().find(|(name, _)| *name == what).map(|(_, url)| url);
        let serve = &self.config.serve;
        output::note("\nTry, in another terminal:\n\n  read -rs KEY   # paste the key");
        if let (Some(url), Some(management)) = (url_of("public"), &serve.management) {
            let path = management.path.under("/self");
            output::note(&format!(
                "  printf 'X-API-Key: %s' \"$KEY\" | curl -H @- {url}{path}   # 200: the key\n  curl {url}{path}   # 401: no key"
            ));
        }
        let asks = serve.gateway.as_ref().and_then(|gateway| as_a_gateway(gateway.kind));
        if let (Some(url), Some((path, headers))) = (url_of("gateway"), asks) {
            output::note(&format!(
                "  printf 'X-API-Key: %s' \"$KEY\" | curl -H @- {headers}{url}{path}   # 200: what the gateway asks for GET /links/1"
            ));
        }
        if let (Some(url), Some(dashboard)) = (url_of("public"), &serve.dashboard) {
            output::note(&format!("\nOpen {url}{} and sign in with the key.", dashboard.path.as_str()));
        }
        output::note("Ctrl-C ends the demo.");
    }
}

/// Returns the path and the options of curl that ask as the gateway does about `GET /links/1`.
fn as_a_gateway(kind: GatewayProtocol) -> Option<(&'static str, &'static str)> {
    match kind {
        GatewayProtocol::Nginx => Some(("", "-H 'X-Original-Method: GET' -H 'X-Original-URI: /links/1' ")),
        GatewayProtocol::Traefik | GatewayProtocol::Caddy | GatewayProtocol::Apisix => {
            Some(("", "-H 'X-Forwarded-Method: GET' -H 'X-Forwarded-Uri: /links/1' "))
        }
        GatewayProtocol::Envoy => Some(("/links/1", "")),
        GatewayProtocol::EnvoyGrpc => None,
    }
}
