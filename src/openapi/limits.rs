//! The response of a layer with limits to a request that they reject.

use utoipa::openapi::{
    Header, Object, RefOr, Response, ResponseBuilder, SecurityRequirement, Type, header::HeaderBuilder, path::Operation,
};

use crate::limit::RateLimitFields;

/// Describes the 429 of an operation that needs a key, unless the operation has its own.
pub(super) fn describe(operation: &mut Operation, fields: RateLimitFields) {
    let is_public = |security: &Vec<SecurityRequirement>| {
        security.iter().all(|requirement| *requirement == SecurityRequirement::default())
    };
    if !operation.security.as_ref().is_some_and(is_public) {
        let responses = &mut operation.responses.responses;
        responses.entry("429".to_owned()).or_insert_with(|| RefOr::T(rejected(fields)));
    }
}

/// The body has the format of the layer's rejections, so that it has no schema here.
fn rejected(fields: RateLimitFields) -> Response {
    let response = ResponseBuilder::new()
        .description("A limit of the API key is full")
        .header("Retry-After", header(Type::Integer, "Seconds until the request passes; absent if it never does"));
    let response = match fields {
        RateLimitFields::Off => response,
        RateLimitFields::OnRefusal(_) | RateLimitFields::Always(_) => response
            .header("RateLimit-Policy", header(Type::String, "The limits of the API key"))
            .header("RateLimit", header(Type::String, "What is left of them")),
    };
    response.build()
}

fn header(kind: Type, description: &str) -> Header {
    HeaderBuilder::from(Header::new(Object::with_type(kind))).description(Some(description)).build()
}
