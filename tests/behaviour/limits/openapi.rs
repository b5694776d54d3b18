//! Tests that an OpenAPI document describes the 429 of a layer with limits.

use serde_json::{Value, json};
use tower_api_key::{
    Require, Scheme,
    limit::{FieldsForm, RateLimitFields},
    openapi::Security,
};
use utoipa::openapi::{HttpMethod, Info, OpenApi, Paths, RefOr, Response, SecurityRequirement, path::Operation};

fn document() -> OpenApi {
    let mut paths = Paths::new();
    for (path, method) in [
        ("/links", HttpMethod::Get),
        ("/links", HttpMethod::Post),
        ("/public", HttpMethod::Get),
        ("/own", HttpMethod::Get),
    ] {
        paths.add_path_operation(path, vec![method], Operation::new());
    }
    OpenApi::new(Info::new("Links", "1"), paths)
}

fn described(security: &Security, mut document: OpenApi) -> Value {
    security.describe(&mut document).unwrap();
    serde_json::to_value(document).unwrap()
}

#[test]
fn operations_that_need_a_key_have_the_429_of_a_layer_with_limits() {
    let described_with = |fields| {
        let mut document = document();
        let mut edit = |path: &str, edit: fn(&mut Operation)| {
            edit(document.paths.paths.get_mut(path).unwrap().get.as_mut().unwrap());
        };
        edit("/public", |operation| operation.security = Some(vec![SecurityRequirement::default()]));
        edit("/own", |operation| {
            operation.responses.responses.insert("429".to_owned(), RefOr::T(Response::new("Mine")));
        });
        let table = Require::table().any("/own", ("links", "read")).open("/links");
        let security = Security::new(&Scheme::x_api_key().into()).guard_all(&table.build().unwrap()).limited(fields);
        described(&security, document)
    };
    let header = |kind: &str, description: &str| json!({ "schema": { "type": kind }, "description": description });
    let retry_after = header("integer", "Seconds until the request passes; absent if it never does");
    let mut expected =
        json!({ "description": "A limit of the API key is full", "headers": { "Retry-After": retry_after } });
    let written = described_with(RateLimitFields::Off);
    for (path, method) in [("/links", "get"), ("/links", "post")] {
        assert_eq!(written["paths"][path][method]["responses"]["429"], expected, "{method} {path}");
    }
    assert_eq!(written["paths"]["/public"]["get"]["responses"]["429"], Value::Null);
    assert_eq!(written["paths"]["/own"]["get"]["responses"]["429"], json!({ "description": "Mine" }));
    expected["headers"]["RateLimit-Policy"] = header("string", "The limits of the API key");
    expected["headers"]["RateLimit"] = header("string", "What is left of them");
    for form in [RateLimitFields::OnRefusal, RateLimitFields::Always] {
        let written = described_with(form(FieldsForm::Draft11));
        assert_eq!(written["paths"]["/links"]["get"]["responses"]["429"], expected);
    }
    let without = described(&Security::new(&Scheme::x_api_key().into()), document());
    assert_eq!(without["paths"]["/links"]["get"]["responses"]["429"], Value::Null);
}
