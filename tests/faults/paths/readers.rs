//! P1, P2 as a property: if a service behind a table serves a path, in any reading, then the table
//! allows the principal to access it under the path served.
//!
//! Random tables with strict rows next to wildcard rows, and random paths that readers interpret
//! differently. The readers are axum's router, nested and not, and tower-http's `ServeDir`, both
//! also behind proxies that decode, cut, merge and resolve in any order.

mod strategies;

use std::{cell::Cell, collections::BTreeMap, fs, path::Path};

use axum::{Router, body::Body, routing::any};
use http::{Method, Request, StatusCode, Uri, uri::PathAndQuery};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_api_key::{ApiKey, ApiKeyLayer, KeyHasher, KeyRecord, Require, store::MemoryStore};
use tower_http::services::ServeDir;

use strategies::{PIECES, disguised, hop, rows};

const OWN: &str = "own_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

const BOTH: &str = "both_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

const TEMPLATES: [&str; 14] = [
    "/",
    "/admin",
    "/admin/{*rest}",
    "/{x}",
    "/{x}/{y}",
    "/{*rest}",
    "/a",
    "/a/admin",
    "/files/{x}",
    "/files/{x}/{y}",
    "/files/{*rest}",
    "/files/admin/{x}",
    "/files/admin/a",
    "/pub/{*rest}",
];

const FILES: [&str; 12] = [
    "admin",
    "a",
    "x",
    "\u{e9}",
    "admin;x=1",
    "admin?a",
    "a\\admin",
    "files/a",
    "files/admin/a",
    "files/admin/x",
    "pub/a",
    "pub/admin/a",
];

/// The requirement of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asks {
    Strict,
    Own,
    AnyKey,
    Nothing,
}

type Row = (&'static str, Option<Method>, Asks);

/// A transformation of the path by a proxy.
#[derive(Clone, Copy, Debug)]
enum Hop {
    Decode,
    DecodeAllButSlashes,
    MergeSlashes,
    Backslashes,
    CutParameters,
    ResolveDots,
    DropLastSlash,
    CutAtNul,
    Trim,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Router,
    /// The guard is inside the nested router.
    Nested,
    Files,
}

/// The key of a request, if any.
const CALLERS: [Option<&str>; 3] = [None, Some(OWN), Some(BOTH)];

type Rows = BTreeMap<&'static str, Vec<(Option<Method>, Asks)>>;

type Inner = BoxCloneSyncService<Request<Body>, http::Response<Body>, std::convert::Infallible>;

/// Returns the rows that can be combined in one table.
fn listed(rows: &[Row]) -> (Rows, matchit::Router<&'static str>) {
    let (mut table, mut router) = (Rows::new(), matchit::Router::new());
    for (template, method, asks) in rows {
        if !table.contains_key(template) && router.insert(*template, *template).is_err() {
            continue;
        }
        let of_path = table.entry(template).or_default();
        // An open row applies to every method.
        let method = method.clone().filter(|_| *asks != Asks::Nothing);
        if of_path.iter().all(|(known, _)| *known != method) {
            of_path.push((method, *asks));
        }
    }
    (table, router)
}

fn guard(rows: &Rows) -> Require {
    let mut table = Require::table();
    for (template, of_path) in rows {
        for (method, asks) in of_path {
            let guard = match asks {
                Asks::Strict => Require::permission("strict", "read"),
                Asks::Own => Require::permission("own", "read"),
                Asks::AnyKey => Require::authenticated(),
                Asks::Nothing => {
                    table = table.open(*template);
                    continue;
                }
            };
            table = match method {
                Some(method) => table.route(method.as_str(), *template, guard),
                None => table.any(*template, guard),
            };
        }
    }
    table.build().unwrap()
}

/// Returns whether the table allows this caller to access exactly this path.
fn may_have(
    (rows, router): &(Rows, matchit::Router<&'static str>),
    method: &Method,
    path: &str,
    caller: Option<&str>,
) -> bool {
    let Ok(found) = router.at(path) else { return false };
    let of_path = &rows[found.value];
    let listed = |method: Option<&Method>| of_path.iter().find(|(known, _)| known.as_ref() == method);
    let by_get = || listed(Some(&Method::GET)).filter(|_| *method == Method::HEAD);
    match listed(Some(method)).or_else(by_get).or_else(|| listed(None)) {
        None => false,
        Some((_, Asks::Nothing)) => true,
        Some((_, Asks::AnyKey | Asks::Own)) => caller.is_some(),
        Some((_, Asks::Strict)) => caller == Some(BOTH),
    }
}

impl Hop {
    fn apply(self, path: &str) -> String {
        let map_segments = |change: fn(&str) -> &str| path.split('/').map(change).collect::<Vec<_>>().join("/");
        match self {
            Self::Decode => percent_decode_str(path).decode_utf8_lossy().into_owned(),
            Self::DecodeAllButSlashes => {
                let kept = path
                    .split("%2F")
                    .map(|part| part.split("%2f").map(|part| Self::Decode.apply(part)).collect::<Vec<_>>().join("%2f"));
                kept.collect::<Vec<_>>().join("%2F")
            }
            Self::MergeSlashes => {
                let mut merged = path.to_owned();
                while merged.contains("//") {
                    merged = merged.replace("//", "/");
                }
                merged
            }
            Self::Backslashes => path.replace('\\', "/"),
            Self::CutParameters => map_segments(|segment| segment.split(';').next().unwrap_or_default()),
            Self::ResolveDots => {
                let mut kept: Vec<&str> = Vec::new();
                for segment in path.split('/').skip(1) {
                    match segment {
                        ".." => drop(kept.pop()),
                        "." => {}
                        segment => kept.push(segment),
                    }
                }
                format!("/{}", kept.join("/"))
            }
            Self::DropLastSlash => path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path).to_owned(),
            Self::CutAtNul => path.split('\0').next().unwrap_or_default().to_owned(),
            Self::Trim => path.trim_end().to_owned(),
        }
    }

    /// Writes the path into the request unchanged, except for characters that no URI may contain.
    /// So a `?` begins a query, and a `#` ends the path.
    fn forward(self, request: &mut Request<Body>) -> Option<()> {
        const UNSENT: &AsciiSet = &CONTROLS.add(b' ').add(b'<').add(b'>').add(b'^').add(b'`').add(b'|');
        let path = self.apply(request.uri().path());
        let sent: String = path
            .split_inclusive(|_| true)
            .map(|part| if part.is_ascii() { utf8_percent_encode(part, UNSENT).to_string() } else { part.to_owned() })
            .collect();
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query = Some(sent.parse::<PathAndQuery>().ok().filter(|path| path.path().starts_with('/'))?);
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        Some(())
    }
}

/// A service that returns the path it serves in its body. Any other response is not a 200.
fn inner(end: End, hops: Vec<Hop>, folder: &Path) -> Inner {
    let router = Router::new().fallback(any(|request: Request<Body>| async move { request.uri().path().to_owned() }));
    let files = ServeDir::new(folder).append_index_html_on_directories(false);
    let service = service_fn(move |mut request: Request<Body>| {
        let (router, files, hops) = (router.clone(), files.clone(), hops.clone());
        async move {
            if hops.iter().try_for_each(|hop| hop.forward(&mut request)).is_none() {
                return Ok(refusal());
            }
            match end {
                End::Router | End::Nested => router.oneshot(request).await,
                End::Files => Ok(files.oneshot(request).await.unwrap().map(Body::new)),
            }
        }
    });
    BoxCloneSyncService::new(service)
}

fn refusal() -> http::Response<Body> {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

fn app(guard: Require, end: End, hops: Vec<Hop>, folder: &Path) -> Router {
    let keys = MemoryStore::new();
    for (id, text, resources) in [("own", OWN, &["own"][..]), ("both", BOTH, &["own", "strict"])] {
        let record = KeyRecord::for_key(id, &ApiKey::new(text).unwrap(), &KeyHasher::sha256());
        keys.add(resources.iter().fold(record, |record, resource| record.grant(*resource, "read"))).unwrap();
    }
    let guarded = Router::new().fallback_service(inner(end, hops, folder)).layer(guard);
    let router = if end == End::Nested { Router::new().nest("/api", guarded) } else { guarded };
    router.layer(ApiKeyLayer::builder(keys).optional().build().unwrap())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in FILES {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("/{name}")).unwrap();
    }
    folder
}

#[test]
fn p01_p02_what_a_service_serves_is_what_the_table_lets_the_caller_have() {
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::with_cases(cases) }, rng);
    let random = vec(select(&PIECES[..]), 1..6).prop_map(|pieces| format!("/{}", pieces.concat()));
    let path = prop_oneof![disguised(), disguised(), random];
    let end = select(vec![End::Router, End::Nested, End::Files, End::Files]);
    let method = select(vec![Method::GET, Method::GET, Method::HEAD, Method::POST]);
    let strategy = (rows(), path, method, end, vec(hop(), 0..5));
    let (served, served_otherwise) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&strategy, |(rows, path, method, end, hops)| {
        let prefix = if end == End::Nested { "/api" } else { "" };
        let Ok(uri) = format!("{prefix}{path}").parse::<Uri>() else { return Ok(()) };
        let table = listed(&rows);
        let app = app(guard(&table.0), end, hops, folder.path());
        for caller in CALLERS {
            let mut request = Request::builder().method(&method).uri(&uri).body(Body::empty()).unwrap();
            request
                .headers_mut()
                .extend(caller.map(|key| (http::HeaderName::from_static("x-api-key"), key.parse().unwrap())));
            // A HEAD response has no body, so only its status can be checked.
            let answer = runtime.block_on(async {
                let response = app.clone().oneshot(request).await.unwrap();
                let status = response.status();
                (status, response.into_body().collect().await.unwrap().to_bytes())
            });
            if answer.0 != 200 || answer.1.is_empty() {
                continue;
            }
            let under = String::from_utf8(answer.1.to_vec()).unwrap();
            served.set(served.get() + 1);
            served_otherwise.set(served_otherwise.get() + usize::from(under != path));
            prop_assert!(may_have(&table, &method, &under, caller), "{caller:?} got {under}");
        }
        Ok(())
    });
    result.unwrap();
    assert!(
        served.get() > 100 && served_otherwise.get() > 10,
        "{served:?} served, {served_otherwise:?} by another path: too few to prove anything"
    );
}
