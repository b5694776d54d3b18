//! `check`: says whether a request with a key would be accepted.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use clap::Args as ClapArgs;
use http::{Method, Request, Response, StatusCode, Uri};
use serde::Serialize;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ClientAddress, Decision, KeyRecord, Reason, Scheme, address::PeerAddress, client::SendKeyLayer,
};

use crate::{
    args::Global,
    config::{self, TableFile},
    exit::Failure,
    input, output,
    session::Session,
};

/// The request. The key is read from the standard input.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The method, such as GET.
    method: Method,
    /// The path, such as /links/7.
    path: String,
    /// The table of routes, as TOML. The default is that of `serve` in the configuration.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// The address from which the request is sent.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client_address: IpAddr,
}

/// What the service would do.
#[derive(Serialize)]
struct Answer {
    accepted: bool,
    /// The status of the response; an accepted request has 200 here.
    status: u16,
    /// Why the request would be rejected.
    reason: Option<&'static str>,
    key_id: Option<String>,
    /// The permissions that the key lacks.
    missing_permissions: Vec<String>,
}

/// The authority of the request. No request is sent.
const ORIGIN: &str = "https://localhost";

pub(crate) async fn run(args: &Args, session: &Session, global: &Global) -> Result<(), Failure> {
    let usage = |why: String| Failure::Usage(why);
    let guard = match (&args.table, &session.config.serve.routes) {
        (Some(file), _) => config::read::<TableFile>(file)?.routes.guard(),
        (None, Some(routes)) => routes.guard(),
        (None, None) => {
            return Err(usage("give the table of routes: --table, or [[serve.routes]] in --config".to_owned()));
        }
    };
    if !args.path.starts_with('/') {
        return Err(usage("a path begins with /".to_owned()));
    }
    let uri: Uri = format!("{ORIGIN}{}", args.path).parse().map_err(|_| usage("this is not a path".to_owned()))?;
    let key = input::key()?;
    let found = session.manager.find_by_key(&session.operator.actor(None), key.expose()).await?;
    if let Some(role) = found.iter().flat_map(KeyRecord::roles).find(|role| !session.config.roles.has(role)) {
        let why = format!("the key has the role {role:?}: set what it grants in [roles.{role}] of --config");
        return Err(usage(why));
    }
    let decision = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&decision);
    // In memory: a request counts as a use of the key, and may rehash it.
    let layer = session.rehearsal(found)?.layer().client_address(ClientAddress::peer()).observe(move |decision| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(decision.clone());
    });
    let layer = layer.build().map_err(|error| usage(format!("[keys]: {error}")))?;
    let sender = sender(layer.schemes().schemes(), &key)?;
    let service = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new(String::new())));
    let service = sender.layer(layer.layer(guard.layer(service)));
    let mut request = Request::new(String::new());
    (*request.method_mut(), *request.uri_mut()) = (args.method.clone(), uri);
    request.extensions_mut().insert(PeerAddress(args.client_address));
    let status = match service.oneshot(request).await {
        Ok(response) => response.status(),
        Err(never) => match never {},
    };
    let decision = decision.lock().unwrap_or_else(PoisonError::into_inner).take();
    print(&Answer::new(status, decision.as_ref()), args, global)
}

/// Returns a layer that sends the key by the first scheme that can carry it.
fn sender(schemes: &[Scheme], key: &ApiKey) -> Result<SendKeyLayer, Failure> {
    let sender = schemes.iter().find_map(|scheme| SendKeyLayer::new(ORIGIN, scheme.clone(), key).ok());
    sender.ok_or_else(|| Failure::Refused("rejected: no scheme of the service can carry this key".to_owned()))
}

// === impl Answer ===

impl Answer {
    fn new(status: StatusCode, decision: Option<&Decision>) -> Self {
        let reason = decision.and_then(|decision| decision.outcome().reason());
        let missing = decision.map(Decision::missing_permissions).unwrap_or_default();
        Self {
            accepted: status.is_success() && reason.is_none(),
            status: status.as_u16(),
            reason: reason.map(Reason::as_str),
            key_id: decision.and_then(Decision::key_id).map(ToString::to_string),
            missing_permissions: missing.iter().map(ToString::to_string).collect(),
        }
    }
}

fn print(answer: &Answer, args: &Args, global: &Global) -> Result<(), Failure> {
    let Answer { accepted, status, reason, key_id, missing_permissions } = answer;
    if global.json {
        output::json(answer)?;
    } else {
        let text = |text: Option<&str>| text.map(str::to_owned);
        output::fields([
            ("answer", text(Some(if *accepted { "accepted" } else { "rejected" }))),
            ("status", Some(status.to_string())),
            ("reason", text(*reason)),
            ("key", text(key_id.as_deref())),
            ("missing", Some(missing_permissions.join(", ")).filter(|missing| !missing.is_empty())),
        ])?;
    }
    if *accepted { Ok(()) } else { Err(Failure::Refused(format!("{} {} would be rejected", args.method, args.path))) }
}
