//! The inner service, which records its requests.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::HeaderName};
use http_body_util::{BodyExt, Full};
use tower::{service_fn, util::BoxCloneSyncService};
use tower_api_key::{Owner, Principal};

use crate::{Failure, support::App};

/// A request that reached the inner service.
#[derive(Clone)]
pub(crate) struct Reached {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) principal: Option<Principal>,
}

impl Reached {
    pub(crate) fn kind(&self) -> Option<&'static str> {
        self.principal.as_ref()?.owner().map(|owner| match owner {
            Owner::ServiceAccount => "bot",
            _ => "user",
        })
    }

    /// The subject of the key's actions; for a service account's key, its organization.
    pub(crate) fn owner(&self) -> Option<String> {
        let principal = self.principal.as_ref()?;
        match principal.owner()? {
            Owner::User(id) => Some(id.clone()),
            _ => principal.organization().map(str::to_owned),
        }
    }
}

/// Returns 200, or the response that the case's note describes: `Inner service answers 401 with
/// WWW-Authenticate: Basic realm="inner".`
pub(crate) fn inner(note: &str, log: Arc<Mutex<Vec<Reached>>>) -> Result<App, Failure> {
    let said = note.split_once("nner service answers ").map(|(_, answer)| answer);
    let answer = said.filter(|answer| answer.starts_with(|char: char| char.is_ascii_digit())).unwrap_or("200");
    let status = StatusCode::from_bytes(answer.get(..3).unwrap_or_default().as_bytes());
    let status = status.map_err(|_| format!("note {note}"))?;
    let header = match answer.split_once(" with ") {
        Some((_, header)) => {
            let (name, value) = header.trim_end_matches('.').split_once(": ").ok_or(format!("note {note}"))?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            Some((name, value.parse::<http::HeaderValue>().map_err(|error| error.to_string())?))
        }
        None => None,
    };
    Ok(BoxCloneSyncService::new(service_fn(move |request: Request<Full<Bytes>>| {
        let (log, header) = (Arc::clone(&log), header.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            log.lock().unwrap().push(Reached {
                target: parts.uri.to_string(),
                headers: parts.headers,
                body,
                principal: parts.extensions.get::<Principal>().cloned(),
            });
            let mut response = Response::new(Full::default());
            *response.status_mut() = status;
            response.headers_mut().extend(header);
            Ok(response)
        }
    })))
}
