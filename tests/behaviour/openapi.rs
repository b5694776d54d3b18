//! Tests that an application's OpenAPI document describes its layer and guards.

use crate::support::{Api, LIVE, accepted, method, path, refused, x_api_key};
use http::Method;
use serde_json::{Value, json};
use tower_api_key::{
    ApiKeyLayer, ConfigError, Reason, Require, Scheme, SchemePolicy, openapi::Security, store::MemoryStore,
};
use utoipa::openapi::{HttpMethod, Info, OpenApi, PathItem, Paths, SecurityRequirement, path::Operation};

/// Returns a document with operations such as `GET /links`.
fn document(operations: &[&str]) -> OpenApi {
    let mut paths = Paths::new();
    for operation in operations {
        let (method, path) = operation.split_once(' ').unwrap();
        let method: HttpMethod = serde_json::from_value(json!(method.to_lowercase())).unwrap();
        paths.add_path_operation(path, vec![method], Operation::new());
    }
    OpenApi::new(Info::new("Links", "1"), paths)
}

fn described(security: &Security, mut document: OpenApi) -> Result<Value, ConfigError> {
    security.describe(&mut document)?;
    Ok(serde_json::to_value(document).unwrap())
}

/// Returns the document's description of one operation that reads keys from `X-API-Key`.
fn on(operation: &str, guard: &Require) -> Result<Value, ConfigError> {
    let (method, path) = operation.split_once(' ').unwrap();
    let security = Security::new(&Scheme::x_api_key().into()).guard_all(guard);
    let mut written = described(&security, document(&[operation]))?;
    Ok(written["paths"][path][method.to_lowercase()]["security"].take())
}

/// Returns one alternative for each list of roles.
fn asks(alternatives: &[&[&str]]) -> Value {
    alternatives.iter().map(|roles| json!({ "header-x-api-key": roles })).collect()
}

fn may(resource: &str, action: &'static str) -> Require {
    Require::permission(resource, action)
}

// === schemes ===

#[test]
fn each_scheme_of_the_live_layer_is_described() {
    let schemes = [
        Scheme::bearer(),
        Scheme::basic(),
        Scheme::token(),
        Scheme::authorization("Acme"),
        Scheme::header("authorization"),
        Scheme::x_api_key(),
        Scheme::header_with_prefix("X-Auth", "Key"),
        Scheme::query("api_key"),
        Scheme::cookie("session"),
        Scheme::websocket_protocol("acme.key"),
        Scheme::bearer(),
    ];
    let layer = ApiKeyLayer::builder(MemoryStore::new()).schemes(schemes).build().unwrap();
    let written = described(&Security::new(layer.schemes()), document(&["GET /links"])).unwrap();
    let authorization = |description: &str| json!({ "type": "apiKey", "in": "header", "name": "authorization", "description": description });
    assert_eq!(
        written["components"]["securitySchemes"],
        json!({
            "authorization-Bearer": { "type": "http", "scheme": "bearer" },
            "authorization-Basic": { "type": "http", "scheme": "basic", "description": "The user name is the key" },
            "authorization-Token": authorization("Token, a space, and the key"),
            "authorization-Acme": authorization("Acme, a space, and the key"),
            "header-authorization": { "type": "apiKey", "in": "header", "name": "authorization" },
            "header-x-api-key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            "header-x-auth-Key": { "type": "apiKey", "in": "header", "name": "x-auth", "description": "Key, a space, and the key" },
            "query-api_key": { "type": "apiKey", "in": "query", "name": "api_key" },
            "cookie-session": { "type": "apiKey", "in": "cookie", "name": "session" },
            "sec-websocket-protocol-acme.key": {
                "type": "apiKey", "in": "header", "name": "Sec-WebSocket-Protocol", "description": "acme.key, a comma, and the key"
            },
        })
    );
    assert_eq!(
        written["security"],
        json!([
            { "authorization-Bearer": [] },
            { "authorization-Basic": [] },
            { "authorization-Token": [] },
            { "authorization-Acme": [] },
            { "header-authorization": [] },
            { "header-x-api-key": [] },
            { "header-x-auth-Key": [] },
            { "query-api_key": [] },
            { "cookie-session": [] },
            { "sec-websocket-protocol-acme.key": [] },
        ])
    );
    assert_eq!(written["paths"]["/links"]["get"]["security"], Value::Null);
}

#[test]
fn names_are_those_of_components_and_no_two_schemes_share_one() {
    let schemes = [
        Scheme::header("x!key"),
        Scheme::header("x#key"),
        Scheme::header("x_key"),
        Scheme::header("x_key-2"),
        Scheme::authorization("a'b"),
        Scheme::cookie("__Host-a|b"),
        Scheme::websocket_protocol("a~b"),
        Scheme::query("ключ:x"),
        Scheme::header("x-auth-word"),
        Scheme::header_with_prefix("x-auth", "word"),
        Scheme::query("authorization"),
    ];
    let layer = ApiKeyLayer::builder(MemoryStore::new()).schemes(schemes).build().unwrap();
    let written = described(&Security::new(layer.schemes()), document(&[])).unwrap();
    let names: Vec<(&str, &str)> = written["components"]["securitySchemes"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, scheme)| (name.as_str(), scheme["name"].as_str().unwrap()))
        .collect();
    assert_eq!(
        names,
        [
            ("authorization-a_b", "authorization"),
            ("cookie-__Host-a_b", "__Host-a|b"),
            ("header-x-auth-word", "x-auth-word"),
            ("header-x-auth-word-2", "x-auth"),
            ("header-x_key", "x!key"),
            ("header-x_key-2", "x#key"),
            ("header-x_key-2-2", "x_key-2"),
            ("header-x_key-3", "x_key"),
            ("query-____-x", "ключ:x"),
            ("query-authorization", "authorization"),
            ("sec-websocket-protocol-a_b", "Sec-WebSocket-Protocol"),
        ]
    );
}

#[test]
fn a_policy_that_no_layer_takes_is_refused() {
    for (policy, expected) in [
        (SchemePolicy::new([]), ConfigError::NoScheme),
        (Scheme::header("x key").into(), ConfigError::HeaderName("x key".into())),
    ] {
        assert_eq!(described(&Security::new(&policy), document(&[])), Err(expected));
    }
}

// === guards ===

#[test]
fn a_guard_is_named_by_its_permissions() {
    let links = || Require::by_method("links");
    let organization = Require::organization_in_path("/orgs/{organization}/").unwrap();
    let project = Require::table().any("/projects/{id}", Require::by_method("project:{id}")).build().unwrap();
    for (operation, guard, expected) in [
        ("POST /links", may("links", "create"), asks(&[&["links:create"]])),
        ("POST /links", may("links", "archive"), asks(&[&["links:archive"]])),
        ("POST /links", may("links", "create").hide_as_not_found(), asks(&[&["links:create"]])),
        ("POST /links", links(), asks(&[&["links:create"]])),
        ("GET /links", links(), asks(&[&["links:read"]])),
        ("HEAD /links", links(), asks(&[&["links:read"]])),
        ("PUT /links", links(), asks(&[&["links:update"]])),
        ("PATCH /links", links(), asks(&[&["links:update"]])),
        ("DELETE /links", links(), asks(&[&["links:delete"]])),
        ("GET /links", Require::authenticated(), asks(&[&[]])),
        ("GET /links", Require::predicate(|_, _| true), asks(&[&[]])),
        ("GET /orgs/{organization}/links", organization, asks(&[&[]])),
        ("GET /projects/{id}", may("project:{id}", "read"), asks(&[&["project:{id}:read"]])),
        ("DELETE /projects/{id}", Require::by_method("project:{id}"), asks(&[&["project:{id}:delete"]])),
        ("GET /projects/{name}", project, asks(&[&["project:{id}:read"]])),
        ("GET /links", Require::any([may("a", "read"), may("b", "read")]), asks(&[&["a:read"], &["b:read"]])),
        ("GET /links", Require::any([may("a", "read"), Require::authenticated()]), asks(&[&["a:read"], &[]])),
        ("GET /links", Require::any([Require::authenticated(), Require::predicate(|_, _| true)]), asks(&[&[]])),
        ("GET /links", Require::all([may("b", "read"), may("a", "read")]), asks(&[&["b:read", "a:read"]])),
        (
            "GET /links",
            Require::all([may("a", "read"), Require::authenticated(), may("a", "read")]),
            asks(&[&["a:read"]]),
        ),
        (
            "GET /links",
            Require::all([Require::any([may("a", "read"), may("b", "read")]), links()]),
            asks(&[&["a:read", "links:read"], &["b:read", "links:read"]]),
        ),
    ] {
        assert_eq!(on(operation, &guard), Ok(expected), "{operation} {guard:?}");
    }
}

#[test]
fn each_alternative_may_come_by_each_scheme() {
    let guard = Require::any([("stats", "read"), ("admin", "read")]);
    let policy = SchemePolicy::new([Scheme::bearer(), Scheme::x_api_key()]);
    let security = Security::new(&policy).guard("GET", "/stats", &guard);
    assert_eq!(
        described(&security, document(&["GET /stats"])).unwrap()["paths"]["/stats"]["get"]["security"],
        json!([
            { "authorization-Bearer": ["stats:read"] },
            { "header-x-api-key": ["stats:read"] },
            { "authorization-Bearer": ["admin:read"] },
            { "header-x-api-key": ["admin:read"] },
        ])
    );
}

fn table() -> Require {
    let table = Require::table()
        .route("GET", "/links", ("links", "read"))
        .route("POST", "/links", Require::all([("links", "create"), ("tags", "read")]))
        .route("DELETE", "/links/{id}", ("links", "delete"))
        .route("GET", "/links/new", Require::authenticated())
        .any("/stats/{*rest}", Require::by_method("stats"))
        .open("/health");
    table.build().unwrap()
}

#[test]
fn an_operation_has_the_row_of_a_table_that_a_request_for_it_has() {
    for (operation, expected) in [
        ("GET /links", Ok(asks(&[&["links:read"]]))),
        ("HEAD /links", Ok(asks(&[&["links:read"]]))),
        ("POST /links", Ok(asks(&[&["links:create", "tags:read"]]))),
        ("DELETE /links/{id}", Ok(asks(&[&["links:delete"]]))),
        ("DELETE /links/{link_id}", Ok(asks(&[&["links:delete"]]))),
        ("GET /links/new", Ok(asks(&[&[]]))),
        ("GET /stats/{year}/{month}", Ok(asks(&[&["stats:read"]]))),
        ("GET /stats/{*rest}", Ok(asks(&[&["stats:read"]]))),
        ("GET /health", Ok(json!([{}, { "header-x-api-key": [] }]))),
        ("PUT /links", Err(ConfigError::UnsatisfiableGuard("PUT /links".into()))),
        ("GET /links/{id}", Err(ConfigError::UnsatisfiableGuard("GET /links/{id}".into()))),
        ("OPTIONS /stats/{year}", Err(ConfigError::UnsatisfiableGuard("OPTIONS /stats/{year}".into()))),
    ] {
        assert_eq!(on(operation, &table()), expected, "{operation}");
    }
}

#[test]
fn only_an_open_row_without_another_guard_needs_no_key() {
    let nested = Require::all([table()]);
    assert_eq!(on("GET /health", &nested), Ok(asks(&[&[]])), "inside another guard, it is none");
    let security = Security::new(&Scheme::x_api_key().into()).guard_all(&table());
    let security = security.guard("GET", "/health", &may("health", "read"));
    let written = described(&security, document(&["GET /health"])).unwrap();
    assert_eq!(written["paths"]["/health"]["get"]["security"], asks(&[&["health:read"]]));
}

#[test]
fn guards_on_one_operation_are_needed_together() {
    let security = Security::new(&Scheme::x_api_key().into())
        .guard_all(&Require::any([("admin", "read"), ("links", "read")]))
        .guard("GET", "/links", &may("tags", "read"));
    let written = described(&security, document(&["GET /links", "GET /tags"])).unwrap();
    let said = |path: &str| written["paths"][path]["get"]["security"].clone();
    assert_eq!(said("/links"), asks(&[&["admin:read", "tags:read"], &["links:read", "tags:read"]]));
    assert_eq!(said("/tags"), asks(&[&["admin:read"], &["links:read"]]));
}

#[test]
fn an_operation_that_says_its_own_security_keeps_it_unless_it_is_named() {
    let mut own = document(&["GET /login", "GET /links"]);
    for path in ["/login", "/links"] {
        let operation = own.paths.paths.get_mut(path).unwrap().get.as_mut().unwrap();
        operation.security = Some(vec![SecurityRequirement::default()]);
    }
    let security = Security::new(&Scheme::x_api_key().into());
    let security = security.guard_all(&table()).guard("GET", "/links", &may("links", "read"));
    let written = described(&security, own).unwrap();
    assert_eq!(written["paths"]["/login"]["get"]["security"], json!([{}]));
    assert_eq!(written["paths"]["/links"]["get"]["security"], asks(&[&["links:read"]]));
}

#[test]
fn every_method_of_a_path_item_has_its_operation() {
    let methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "QUERY", "PURGE"];
    let mut item = PathItem::default();
    for method in methods {
        match method {
            "QUERY" => item.query = Some(Operation::new()),
            "PURGE" => drop(item.additional_operations.insert("PURGE".into(), Operation::new())),
            _ => {
                let method = serde_json::from_value(json!(method.to_lowercase())).unwrap();
                item.merge_operations(PathItem::new(method, Operation::new()));
            }
        }
    }
    let mut document = document(&[]);
    document.paths.paths.insert("/links".into(), item);
    let security = Security::new(&Scheme::x_api_key().into());
    let security = methods.iter().fold(security, |security, method| {
        security.guard(method, "/links", &Require::permission("links", method.to_lowercase()))
    });
    let written = described(&security, document).unwrap();
    for method in methods {
        let item = &written["paths"]["/links"];
        let operation =
            if method == "PURGE" { &item["additionalOperations"][method] } else { &item[method.to_lowercase()] };
        let role = format!("links:{}", method.to_lowercase());
        assert_eq!(operation["security"], asks(&[&[role.as_str()]]), "{method}");
    }
}

// === refusals ===

#[test]
fn what_is_not_in_the_document_or_lets_nobody_pass_is_refused_by_value() {
    let nothing: [Require; 0] = [];
    let mut untouched = document(&["GET /links", "POST /links"]);
    let before = serde_json::to_value(&untouched).unwrap();
    let missing = |operation: &str| ConfigError::UnknownOperation(operation.into());
    let nobody = |operation: &str| ConfigError::UnsatisfiableGuard(operation.into());
    for (method, path, guard, expected) in [
        ("PUT", "/links", may("links", "read"), missing("PUT /links")),
        ("GET", "/link", may("links", "read"), missing("GET /link")),
        ("GET", "/links/", may("links", "read"), missing("GET /links/")),
        ("get", "/links", may("links", "read"), missing("get /links")),
        ("G T", "/links", may("links", "read"), missing("G T /links")),
        ("POST", "/links", Require::any(nothing.clone()), nobody("POST /links")),
        ("POST", "/links", Require::all(nothing.clone()), nobody("POST /links")),
        ("POST", "/links", Require::all([Require::any(nothing), may("links", "read")]), nobody("POST /links")),
    ] {
        let security = Security::new(&SchemePolicy::default()).guard("GET", "/links", &may("links", "read"));
        let refused = security.guard(method, path, &guard).describe(&mut untouched);
        assert_eq!(refused, Err(expected), "{method} {path} {guard:?}");
        assert_eq!(serde_json::to_value(&untouched).unwrap(), before, "{method} {path} {guard:?}");
    }
    let text = r#"openapi: the document has no operation "PUT /links": write method and path as in the document"#;
    assert_eq!(missing("PUT /links").to_string(), text);
    let text = r#"openapi: the guards of "PUT /links" reject every key: remove one of them"#;
    assert_eq!(nobody("PUT /links").to_string(), text);
}

#[test]
fn describing_again_changes_nothing_and_a_part_can_be_nested() {
    let security = Security::new(&Scheme::x_api_key().into()).guard_all(&table());
    let mut part = document(&["GET /links", "GET /health"]);
    security.describe(&mut part).unwrap();
    let once = serde_json::to_value(&part).unwrap();
    assert_eq!(described(&security, part.clone()).unwrap(), once);

    let whole = serde_json::to_value(document(&["GET /"]).nest("/api", part)).unwrap();
    assert_eq!(whole["paths"]["/api/links"]["get"]["security"], json!([{ "header-x-api-key": ["links:read"] }]));
    assert_eq!(whole["components"]["securitySchemes"], once["components"]["securitySchemes"]);
}

// === the truth ===

/// A key with the roles of any alternative passes the live guard; with one role less it is
/// rejected.
#[tokio::test]
async fn the_roles_in_the_document_are_what_the_guard_asks_for() {
    let nested = || {
        let any = Require::any([may("a", "read"), Require::all([may("b", "read"), may("c", "read")])]);
        Require::all([any, Require::by_method("links")])
    };
    for (operation, guard) in [
        ("POST /links", may("links", "create")),
        ("DELETE /links", Require::by_method("links")),
        ("GET /links", nested()),
        ("POST /links", table()),
        ("DELETE /links/{id}", table()),
        ("PATCH /stats/{year}", table()),
    ] {
        let said = on(operation, &guard).unwrap();
        for alternative in said.as_array().unwrap() {
            let roles = alternative["header-x-api-key"].as_array().unwrap();
            assert!(!roles.is_empty(), "{operation} {guard:?}");
            assert_eq!(call(operation, &guard, roles).await, accepted(), "{operation} {guard:?}");
            for left_out in 0..roles.len() {
                let mut fewer = roles.clone();
                fewer.remove(left_out);
                let forbidden = refused(Reason::Forbidden, 403);
                assert_eq!(call(operation, &guard, &fewer).await, forbidden, "{operation} {guard:?} {fewer:?}");
            }
        }
    }
}

async fn call(operation: &str, guard: &Require, roles: &[Value]) -> crate::support::Observed {
    let (verb, target) = operation.split_once(' ').unwrap();
    let target = target.replace(['{', '}'], "");
    let grant = |record| {
        roles.iter().fold(record, |record: tower_api_key::KeyRecord, role| {
            let (resource, action) = role.as_str().unwrap().split_once(':').unwrap();
            record.grant(resource, action.to_owned())
        })
    };
    let request = path(method(x_api_key(LIVE), verb.parse::<Method>().unwrap()), &target);
    Api::new().key("live", LIVE, grant).guard(guard.clone()).call(request).await
}
