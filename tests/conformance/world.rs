//! A real tower service for a case: layers, guards, and an inner service that records its requests.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{Layer, ServiceExt};
use tower_api_key::{
    ApiKey, Decision, KeyFormat, KeyManager, KeyRecord, Outcome, Reason, Rejection, key::InvalidKey,
    manage::KeyManagerBuilder,
};

use crate::{
    Failure,
    inner::{Reached, inner},
    limits::CaseLimits,
    policy::{self, Unbuilt},
    steps::prefix_of,
    store::{CaseStore, Fault, Gate, Speed, hasher, record},
    support::{App, boxed},
};

/// One layer, its store, and the observations.
#[derive(Clone)]
pub(crate) struct Site {
    app: App,
    pub(crate) store: Arc<CaseStore>,
    pub(crate) manager: KeyManager,
    pub(crate) limits: Option<CaseLimits>,
    decisions: Arc<Mutex<Vec<Decision>>>,
    outer_decisions: Arc<Mutex<Vec<Decision>>>,
    reached: Arc<Mutex<Vec<Reached>>>,
    /// All events and responses as `Debug` shows them.
    pub(crate) transcript: Arc<Mutex<String>>,
}

/// The time of a case.
pub(crate) type Now = Arc<Mutex<SystemTime>>;

/// Everything that a case acts on.
pub(crate) struct World {
    pub(crate) sites: BTreeMap<String, Site>,
    pub(crate) now: Now,
    pub(crate) wildcards: bool,
    /// Whether responses describe the limits of the key.
    pub(crate) sends_fields: bool,
}

/// The result of one request.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) reason: &'static str,
    pub(crate) reached: Option<Reached>,
    pub(crate) calls: usize,
}

impl World {
    pub(crate) fn new(case: &Value, speed: Speed, gate: Option<&Gate>) -> Result<Self, Unbuilt> {
        let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)));
        let requires = crate::policy::texts(&case["requires"])?;
        let requires = |name: &str| requires.iter().any(|required| required == name);
        let (wildcards, sends_fields) = (requires("wildcards"), requires("rate_limit_headers"));
        let mut world = Self { sites: BTreeMap::new(), now, wildcards, sends_fields };
        for name in site_names(case) {
            if name == UNGUARDED {
                let site = world.unguarded(case)?;
                world.sites.insert(name, site);
                continue;
            }
            let store = world.store(case, &name, speed, gate.cloned())?;
            let site = world.site(case, store)?;
            world.sites.insert(name, site);
        }
        Ok(world)
    }

    pub(crate) fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }

    pub(crate) fn advance(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    pub(crate) fn store(
        &self,
        case: &Value,
        site: &str,
        speed: Speed,
        gate: Option<Gate>,
    ) -> Result<Arc<CaseStore>, Unbuilt> {
        let mut store = CaseStore {
            keys: tower_api_key::store::MemoryStore::new(),
            rows: Vec::new(),
            fault: Fault::parse(case["policy"]["store"].as_str())?,
            speed,
            calls: AtomicUsize::new(0),
            organizations: Mutex::default(),
            gate,
        };
        let keys = case["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let here = |name: &str| name == site || (site.is_empty() && name == "inner");
        for key in keys.iter().filter(|key| key["store"].as_str().is_none_or(here)) {
            if matches!(key["state"].as_str(), Some("deleted" | "unknown")) {
                continue; // No record is left of it.
            }
            if let Some(row) = key["digest"].as_str() {
                store.rows.push((key["id"].as_str().unwrap_or("k").to_owned(), digest_bytes(row)));
                continue;
            }
            let secret = match secret_of(key, keys)? {
                Some(Ok(secret)) => secret,
                Some(Err(error)) if case["unit"].is_object() => return Err(Unbuilt::Refused(error.to_string())),
                // The import failed, as the layer would reject it, or a reference was not resolved.
                // The case continues without the key.
                Some(Err(_)) | None => continue,
            };
            let record = record(key, &secret, self.wildcards, self.now())?;
            store.note(&record);
            store.keys.add(record).map_err(|error| Unbuilt::Refused(error.to_string()))?;
        }
        Ok(Arc::new(store))
    }

    /// Returns a manager that accepts keys of any format, with the clock of the case.
    fn manager(&self, case: &Value, store: Arc<CaseStore>) -> Result<KeyManager, Unbuilt> {
        let prefix = prefix_of(case);
        let format = KeyFormat::new(&prefix).or_else(|_| KeyFormat::new("tak"));
        let format = format.map_err(|error| Unbuilt::Refused(error.to_string()))?;
        let clock = Arc::clone(&self.now);
        let keys = case["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let manager = over(store, &case["policy"])?.format(format).accept_any_format().hasher(hasher(keys)?);
        let manager = manager.clock(move || *clock.lock().unwrap()).build();
        manager.map_err(|error| Unbuilt::Refused(error.to_string()))
    }

    /// Builds the layer `no_guard`: the same policy and keys, without guards.
    fn unguarded(&self, case: &Value) -> Result<Site, Unbuilt> {
        let mut case = case.clone();
        if let Some(policy) = case["policy"].as_object_mut() {
            policy.retain(|member, _| !member.starts_with("require"));
        }
        let guarded = self.sites.get("").ok_or_else(|| "no layer to leave the guards out of".to_owned())?;
        self.site(&case, Arc::clone(&guarded.store))
    }

    fn site(&self, case: &Value, store: Arc<CaseStore>) -> Result<Site, Unbuilt> {
        let reached = Arc::new(Mutex::new(Vec::new()));
        let decisions = Arc::new(Mutex::new(Vec::new()));
        let outer_decisions = Arc::new(Mutex::new(Vec::new()));
        let policy = &case["policy"];
        let manager = self.manager(case, Arc::clone(&store))?;
        let mut limits = None;
        let mut app = inner(case["note"].as_str().unwrap_or_default(), Arc::clone(&reached))?;
        if policy["layer"] == "guard_only" {
            for guard in policy::guards_only(policy)?.iter().rev() {
                app = boxed(guard.layer(app));
            }
        } else {
            let settings = policy::settings(policy, &manager, self)?;
            for guard in settings.guards.iter().rev() {
                app = boxed(guard.layer(app));
            }
            let told = Arc::clone(&decisions);
            let layer = settings
                .builder
                .observe(move |decision| told.lock().unwrap().push(decision.clone()))
                .build()
                .map_err(|error| Unbuilt::Refused(error.to_string()))?;
            app = boxed(layer.layer(app));
            limits = Some(settings.limits);
        }
        if !policy["outer_layer"].is_object() && !policy["outer_layer"].is_null() {
            return Err(format!("outer_layer {}", policy["outer_layer"]).into());
        }
        if policy["outer_layer"].is_object() {
            let mut outer = self.store(case, "outer", store.speed, None)?;
            if !has_store(case, "outer") {
                outer = Arc::clone(&store);
            }
            let mut outer_policy = policy["outer_layer"].clone();
            if outer_policy["accept"].is_null() {
                outer_policy["accept"] = policy["accept"].clone();
            }
            let settings = policy::settings(&outer_policy, &self.manager(case, outer)?, self)?;
            let told = Arc::clone(&outer_decisions);
            let layer = settings.builder.observe(move |decision| told.lock().unwrap().push(decision.clone())).build();
            let layer = layer.map_err(|error| Unbuilt::Refused(error.to_string()))?;
            for guard in settings.guards.iter().rev() {
                app = boxed(guard.layer(app));
            }
            app = boxed(layer.layer(app));
        }
        Ok(Site { app, store, manager, limits, decisions, outer_decisions, reached, transcript: Arc::default() })
    }
}

impl Site {
    /// Returns the contents of the store as `Debug` shows them.
    pub(crate) async fn shown(&self) -> String {
        format!("{:?} {:?}", self.store.keys, self.store.all().await)
    }

    pub(crate) async fn call(&self, request: Request<Full<Bytes>>) -> Result<Observed, Failure> {
        let before = self.store.calls.load(Ordering::Relaxed);
        self.decisions.lock().unwrap().clear();
        self.reached.lock().unwrap().clear();
        let (mut parts, body) = self.respond(request).await?.into_parts();
        if let Some(why) = self.store.fault_text()
            && format!("{:?} {}", parts.headers, String::from_utf8_lossy(&body)).contains(why)
        {
            return Err(format!("the answer repeats the store's error {why:?}"));
        }
        let mut decisions = std::mem::take(&mut *self.decisions.lock().unwrap());
        let outer = std::mem::take(&mut *self.outer_decisions.lock().unwrap());
        if decisions.is_empty() {
            decisions = outer; // It refused before the inner layer was asked.
        }
        let told = format!("{decisions:?} {parts:?} {body:?}\n");
        self.transcript.lock().unwrap().push_str(&told);
        let alone = parts.extensions.remove::<Rejection>();
        let reason = match (decisions.as_slice(), alone) {
            ([decision], None) => class(decision.outcome()),
            // Guards without a layer.
            ([], Some(rejection)) => class(Outcome::Refused(rejection.reason())),
            (several, _) => return Err(format!("{} decisions", several.len())),
        };
        let reached = std::mem::take(&mut *self.reached.lock().unwrap());
        if reached.len() > 1 {
            return Err("the inner service was called twice".into());
        }
        Ok(Observed {
            status: parts.status,
            headers: parts.headers,
            body,
            reason,
            reached: reached.into_iter().next(),
            calls: self.store.calls.load(Ordering::Relaxed) - before,
        })
    }

    /// Calls without checking decisions, for concurrent requests.
    pub(crate) async fn respond(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let response = self.app.clone().oneshot(request).await;
        let Ok(response) = response;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

/// The name of the layer without the guards of its case.
const UNGUARDED: &str = "no_guard";

/// The map from imported replacements to the ids by which the case knows them.
pub(crate) const KNOWN_AS: &str = "known as";

/// Returns the id by which a case knows a record.
pub(crate) fn known_as(record: &KeyRecord) -> &str {
    record.metadata().get(KNOWN_AS).map_or(record.id().as_str(), String::as_str)
}

/// Returns a manager over the store, or over a cache of it.
#[cfg_attr(not(feature = "cache"), expect(clippy::unnecessary_wraps, unused_variables, reason = "there is no cache"))]
fn over(store: Arc<CaseStore>, policy: &Value) -> Result<KeyManagerBuilder, Unbuilt> {
    #[cfg(feature = "cache")]
    if policy["cache_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0)
        && tokio::runtime::Handle::try_current().is_ok()
    {
        let changes = store.keys.change_feed();
        let ttl = Duration::from_secs_f64(policy["cache_seconds"].as_f64().unwrap_or_default());
        let cached = tower_api_key::store::CachedStore::builder(store, changes).ttl(ttl).build();
        return Ok(KeyManager::builder(cached.map_err(|error| Unbuilt::Refused(error.to_string()))?));
    }
    Ok(KeyManager::builder(store))
}

/// Returns the reason class, in the cases' format, of an outcome.
fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "ok",
        Outcome::Anonymous => "anonymous",
        Outcome::Skipped => "skipped",
        Outcome::Preflight => "preflight",
        Outcome::Refused(reason) => match reason {
            Reason::Missing => "missing",
            Reason::WrongScheme => "wrong_scheme",
            Reason::Malformed => "malformed",
            Reason::Ambiguous => "ambiguous",
            Reason::BadFormat => "key_format",
            Reason::Unknown | Reason::WrongEnvironment | Reason::WrongOrganization => "unknown_key",
            Reason::Revoked => "revoked",
            Reason::Disabled => "disabled",
            Reason::Expired | Reason::NotYetValid => "expired",
            Reason::Forbidden | Reason::NoMatchingRoute => "forbidden",
            Reason::ForeignResource | Reason::ForeignResourceHidden => "wrong_org",
            Reason::RateLimited => "rate_limited",
            Reason::QuotaExceeded => "quota_exceeded",
            Reason::StoreFailed | Reason::StoreTimeout => "store_error",
            Reason::Misconfigured => "misconfigured",
            _ => "unknown to this driver",
        },
        _ => "unknown to this driver",
    }
}

/// Returns the layers that a case names, in its steps or next to its keys, or else one without a
/// name.
fn site_names(case: &Value) -> Vec<String> {
    let list = |member: &str, name: &str| -> Vec<String> {
        let items = case[member].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(|item| item[name].as_str()).map(str::to_owned).collect()
    };
    let mut names = list("steps", "layer");
    if case["policy"]["outer_layer"].is_null() {
        names.extend(list("keys", "store"));
    }
    names.push(String::new());
    names.sort();
    names.dedup();
    names
}

fn has_store(case: &Value, name: &str) -> bool {
    case["keys"].as_array().is_some_and(|keys| keys.iter().any(|key| key["store"] == name))
}

/// Returns a digest as stored in a row: 64 hex digits are 32 bytes; any other text is used as it
/// is.
fn digest_bytes(row: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(row.get(at..at + 2)?, 16).ok();
    let digest: Option<Vec<u8>> = (0..64).step_by(2).map(byte).collect();
    digest.filter(|_| row.len() == 64).unwrap_or_else(|| row.as_bytes().to_vec())
}

/// Returns the key that a record describes, or the library's error. Returns `None` for a reference
/// to an unknown key: it was not resolved, and its text is not a key.
fn secret_of(key: &Value, keys: &[Value]) -> Result<Option<Result<ApiKey, InvalidKey>>, Failure> {
    let named = |reference: &str| keys.iter().find(|key| key["id"] == reference);
    if let Some(text) = key["secret"].as_str() {
        return Ok(Some(ApiKey::new(text)));
    }
    let reference = key["secret_ref"].as_str().ok_or("a key without a secret")?;
    Ok(named(reference).and_then(|key| key["secret"].as_str()).map(ApiKey::new))
}
