//! For any setting and any request, a gateway's answer is 2xx exactly if the same layer and guard
//! call the handler when they serve the request themselves.

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};
use proptest::{collection::vec, prelude::*, sample::select};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{ApiKeyLayer, Require, Scheme, gateway::Gateway, layer::ApiKeyLayerBuilder};

use super::{KINDS, ask, layer, question, router, table};
use crate::support::{LIVE, UNKNOWN};

#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
struct Setting {
    optional: bool,
    skip: bool,
    preflight: bool,
    grpc: bool,
    hide: bool,
    schemes: Vec<Scheme>,
    guard: u8,
}

impl Setting {
    fn layer(&self) -> ApiKeyLayer {
        layer(|mut layer: ApiKeyLayerBuilder| {
            layer = layer.schemes(self.schemes.clone());
            if self.optional {
                layer = layer.optional();
            }
            if self.skip {
                layer = layer.skip(|path| path.starts_with("/public"));
            }
            if self.preflight {
                layer = layer.pass_preflight();
            }
            if self.grpc {
                layer = layer.grpc();
            }
            if self.hide { layer.hide_credentials() } else { layer }
        })
    }

    fn guard(&self) -> Require {
        match self.guard {
            0 => table(),
            1 => Require::by_method("links"),
            2 => Require::authenticated(),
            3 => Require::predicate(|_, parts| parts.headers.contains_key("content-type")),
            _ => Require::table().any("/{*rest}", Require::authenticated()).open("/").build().unwrap(),
        }
    }
}

fn settings() -> impl Strategy<Value = Setting> {
    let schemes = select(vec![
        Scheme::bearer(),
        Scheme::x_api_key(),
        Scheme::basic(),
        Scheme::query("key"),
        Scheme::cookie("key"),
        Scheme::websocket_protocol("key"),
    ]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, vec(schemes, 1..4), 0..5_u8).prop_map(|((optional, skip, preflight, grpc, hide), schemes, guard)| Setting {
        optional,
        skip,
        preflight,
        grpc,
        hide,
        schemes,
        guard,
    })
}

fn requests() -> impl Strategy<Value = Request<()>> {
    let method = select(vec!["GET", "POST", "DELETE", "HEAD", "OPTIONS", "get", "PURGE"]);
    let piece = select(vec![
        "/", "links", "admin", "health", "public", "..", "%2e", "%2F", ";x", "//", "%", "%00", "\\", "*", "a", "%25",
    ]);
    let query = select(vec![String::new(), format!("?key={LIVE}"), format!("?key={UNKNOWN}"), "?a=b".to_owned()]);
    let lines = vec![
        ("authorization", format!("Bearer {LIVE}")),
        ("authorization", format!("Bearer {UNKNOWN}")),
        ("x-api-key", LIVE.to_owned()),
        ("x-api-key", UNKNOWN.to_owned()),
        ("x-api-key", String::new()),
        ("cookie", format!("a=b; key={LIVE}")),
        ("sec-websocket-protocol", format!("key, {LIVE}")),
        ("content-type", "application/grpc".to_owned()),
        ("te", "trailers".to_owned()),
        ("content-type", "text/plain".to_owned()),
        ("origin", "https://a.example".to_owned()),
        ("access-control-request-method", "GET".to_owned()),
    ];
    (method, vec(piece, 0..4), query, vec(select(lines), 0..4)).prop_filter_map(
        "a target",
        |(method, pieces, query, lines)| {
            let mut request = Request::builder().method(method).uri(format!("/{}{query}", pieces.concat()));
            for (name, value) in lines {
                request = request.header(name, value);
            }
            request.body(()).ok()
        },
    )
}

/// Returns whether the stack calls the handler.
async fn reaches(setting: &Setting, original: &Request<()>) -> bool {
    let handler = service_fn(async |_: Request<()>| {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert("x-reached", "1".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let service = setting.layer().layer(setting.guard().layer(handler));
    let response = service.oneshot(original.clone()).await.unwrap();
    response.headers().contains_key("x-reached")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_2xx_exactly_if_the_handler_would_be_called(setting in settings(), original in requests()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let reaches = reaches(&setting, &original).await;
            let gateway = Gateway::new(&setting.layer(), setting.guard());
            for kind in KINDS {
                let answer = ask(router(&gateway, kind), kind, question(kind, &original)).await;
                prop_assert_eq!(answer.status.is_success(), reaches, "{:?} {:?}", kind, answer);
            }
            Ok(())
        })?;
    }
}
