//! Adds API-key security to the OpenAPI document of your application. It reads the policy and the
//! guards that the application uses, so the document cannot differ from the code.
//!
//! [`Security::describe`] changes a document of [utoipa].
//!
//! ```
//! use axum::{Json, Router, routing::{delete, get}};
//! use serde_json::json;
//! use tower_api_key::{ApiKeyLayer, Require, Scheme, openapi::Security, store::MemoryStore};
//! use utoipa::OpenApi;
//!
//! #[utoipa::path(get, path = "/links", responses((status = 200, description = "All links")))]
//! async fn list() {}
//!
//! #[utoipa::path(delete, path = "/links/{id}", params(("id" = String, Path)), responses(
//!     (status = 204, description = "Deleted"),
//! ))]
//! async fn remove() {}
//!
//! #[derive(OpenApi)]
//! #[openapi(paths(list, remove))]
//! struct Document;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let auth = ApiKeyLayer::builder(MemoryStore::new())
//!     .schemes([Scheme::bearer(), Scheme::token()])
//!     .build()?;
//! let table = Require::table()
//!     .route("GET", "/links", Require::authenticated())
//!     .route("DELETE", "/links/{id}", ("links", "delete"))
//!     .build()?;
//!
//! let mut document = Document::openapi();
//! Security::new(auth.schemes()).guard_all(&table).describe(&mut document)?;
//!
//! let written = serde_json::to_value(&document)?;
//! assert_eq!(written["components"]["securitySchemes"], json!({
//!     "authorization-Bearer": { "type": "http", "scheme": "bearer" },
//!     "authorization-Token": {
//!         "type": "apiKey", "in": "header", "name": "authorization",
//!         "description": "Token, a space, and the key",
//!     },
//! }));
//! assert_eq!(
//!     written["security"],
//!     json!([{ "authorization-Bearer": [] }, { "authorization-Token": [] }]),
//! );
//! assert_eq!(written["paths"]["/links/{id}"]["delete"]["security"], json!([
//!     { "authorization-Bearer": ["links:delete"] },
//!     { "authorization-Token": ["links:delete"] },
//! ]));
//!
//! let app: Router = Router::new()
//!     .route("/links", get(list))
//!     .route("/links/{id}", delete(remove))
//!     .layer(table)
//!     .layer(auth)
//!     .route("/openapi.json", get(async || Json(document))); // public: added after the layer
//! # Ok(())
//! # }
//! ```
//!
//! # Guards
//!
//! | guard                                                       | `security` of the operation, for each scheme           |
//! |-------------------------------------------------------------|--------------------------------------------------------|
//! | [`Require::permission`]`("links", "create")`                | `["links:create"]`                                     |
//! | [`Require::by_method`]`("links")`                           | `["links:read"]` on a `GET`                            |
//! | `Require::permission("project:{id}", "read")`               | `["project:{id}:read"]`, as it is written              |
//! | [`Require::all`], and several guards on one operation       | all their roles: `["links:read", "files:read"]`        |
//! | [`Require::any`]                                            | one requirement for each alternative                   |
//! | [`Require::authenticated`], `organization`, `predicate`     | `[]`: any key; other conditions have no name           |
//! | [`Require::table`]                                          | the security of the row for the operation              |
//! | an [`open`](crate::guard::RouteTableBuilder::open) row      | as for `authenticated`, or without a key: `{}`         |
//!
//! OpenAPI 3.1 calls these names roles, and does not define their meaning.
//!
//! # Schemes
//!
//! | scheme                                     | described as                                                 |
//! |--------------------------------------------|--------------------------------------------------------------|
//! | `Authorization: Bearer`, `Basic`           | `http`                                                       |
//! | `Authorization` with another auth-scheme   | `apiKey` in the header, with the auth-scheme in its description |
//! | private header, query parameter, cookie    | `apiKey`                                                     |
//! | WebSocket protocol                         | `apiKey` in the header `Sec-WebSocket-Protocol`, with a description |
//!
//! The name of a scheme in the document is its text form, with `-` for `:` and `_` for other
//! characters that OpenAPI does not allow. A second scheme with the same name gets a number.
//!
//! [utoipa]: https://docs.rs/utoipa

#[cfg(feature = "limits")]
mod limits;
mod schemes;

use http::Method;
use utoipa::openapi::{
    OpenApi, SecurityRequirement,
    path::{Operation, PathItem},
};

use crate::{
    error::ConfigError,
    guard::{Require, intersect},
    scheme::{KEY_LEN_LIMIT, Reader, SchemePolicy},
};
pub(crate) use schemes::require_a_key;
use schemes::requirements;

/// Describes the security of a document: the schemes of a policy, and the guards of operations.
///
/// ```
/// use tower_api_key::{ConfigError, Require, SchemePolicy, openapi::Security};
/// use utoipa::openapi::{HttpMethod, Info, OpenApi, PathItem, Paths, path::Operation};
///
/// let mut paths = Paths::new();
/// paths.add_path_operation("/links", vec![HttpMethod::Post], Operation::new());
/// let mut document = OpenApi::new(Info::new("Links", "1"), paths);
///
/// let create = Require::permission("links", "create"); // the guard of the route
/// let policy = SchemePolicy::default(); // or `layer.schemes()`
/// Security::new(&policy).guard("POST", "/links", &create).describe(&mut document)?;
///
/// let refused = Security::new(&policy).guard("PUT", "/links", &create).describe(&mut document);
/// assert_eq!(refused, Err(ConfigError::UnknownOperation("PUT /links".into())));
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `describe` to write it into a document"]
pub struct Security {
    policy: SchemePolicy,
    guards: Vec<Guard>,
    #[cfg(feature = "limits")]
    limited: Option<crate::limit::RateLimitFields>,
}

#[derive(Clone, Debug)]
struct Guard {
    /// `POST /links`; `None` for every operation.
    operation: Option<String>,
    require: Require,
}

// === impl Security ===

impl Security {
    /// Returns a description of the schemes of `policy`. Pass the policy of the layer,
    /// [`ApiKeyLayer::schemes`](crate::ApiKeyLayer::schemes).
    pub fn new(policy: &SchemePolicy) -> Self {
        Self {
            policy: policy.clone(),
            guards: Vec::new(),
            #[cfg(feature = "limits")]
            limited: None,
        }
    }

    /// Adds the guard of one operation, with its method and its path in the document:
    /// `("DELETE", "/links/{id}", &guard)`. The type's documentation has an example.
    pub fn guard(mut self, method: impl AsRef<str>, path: impl AsRef<str>, guard: &Require) -> Self {
        let operation = Some(format!("{} {}", method.as_ref(), path.as_ref()));
        self.guards.push(Guard { operation, require: guard.clone() });
        self
    }

    /// Adds a guard that applies to every operation, such as a [table](Require::table) around a
    /// router. The [module](self) has an example.
    ///
    /// Operations that set their own `security`, such as `security(())` in `utoipa::path`, are
    /// skipped. An operation gets the row that its requests get: `/files/{*rest}` matches
    /// `/files/{name}`, and the names in braces do not matter. The document does not show a row
    /// without an operation. If it has only `/files/{name}`, it does not show the row
    /// `/files/secret`.
    ///
    /// The paths of a table under axum's `nest` have no prefix. Describe the document of the nested
    /// router first, then nest it in the whole document.
    pub fn guard_all(mut self, guard: &Require) -> Self {
        self.guards.push(Guard { operation: None, require: guard.clone() });
        self
    }

    /// Adds a 429 to every operation that needs a key, for a layer with
    /// [`limits`](crate::layer::ApiKeyLayerBuilder::limits). It has the header `Retry-After`, and
    /// the fields that the layer sends. An operation with a 429 keeps its own.
    ///
    /// ```
    /// use tower_api_key::{ConfigError, SchemePolicy, limit::RateLimitFields, openapi::Security};
    /// use utoipa::openapi::{HttpMethod, Info, OpenApi, Paths, path::Operation};
    ///
    /// let mut paths = Paths::new();
    /// paths.add_path_operation("/links", vec![HttpMethod::Get], Operation::new());
    /// let mut document = OpenApi::new(Info::new("Links", "1"), paths);
    /// Security::new(&SchemePolicy::default()).limited(RateLimitFields::Off).describe(&mut document)?;
    ///
    /// let list = document.paths.get_path_operation("/links", HttpMethod::Get).unwrap();
    /// assert!(list.responses.responses.contains_key("429"));
    /// # Ok::<(), ConfigError>(())
    /// ```
    #[cfg(feature = "limits")]
    pub fn limited(mut self, fields: crate::limit::RateLimitFields) -> Self {
        self.limited = Some(fields);
        self
    }

    /// Writes the schemes, a requirement for the whole document, and one for each operation with a
    /// guard. The type's documentation has an example.
    ///
    /// Replaces the document's `security`, and schemes with the same name. An operation without a
    /// guard keeps its own `security`. If the layer is optional, describe such an operation
    /// yourself: `security((), ("authorization-Bearer" = []))`.
    ///
    /// # Errors
    ///
    /// An error leaves the document unchanged.
    ///
    /// - [`ConfigError::UnknownOperation`]: a guard is for `"PUT /links"`, and the document has no
    ///   such operation. Methods are upper case.
    /// - [`ConfigError::UnsatisfiableGuard`]: no key can call an operation, because a table does
    ///   not list it, its method maps to no action, or a list of guards is empty.
    /// - The errors of [`build`](crate::layer::ApiKeyLayerBuilder::build) for a policy that no
    ///   layer accepts.
    pub fn describe(&self, document: &mut OpenApi) -> Result<(), ConfigError> {
        // Rejects every policy that `build` rejects.
        Reader::new(&self.policy, KEY_LEN_LIMIT)?;
        let mut unknown: Vec<&String> = self.guards.iter().filter_map(|guard| guard.operation.as_ref()).collect();
        let mut paths = document.paths.clone();
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                let name = format!("{method} {path}");
                unknown.retain(|named| **named != name);
                let is_named = |guard: &&Guard| match &guard.operation {
                    Some(named) => *named == name,
                    None => operation.security.is_none(),
                };
                let guards: Vec<&Require> = self.guards.iter().filter(is_named).map(|guard| &guard.require).collect();
                if !guards.is_empty() {
                    operation.security = Some(self.requirements_of(&guards, &method, path, name)?);
                }
                #[cfg(feature = "limits")]
                if let Some(fields) = self.limited {
                    limits::describe(operation, fields);
                }
            }
        }
        if let Some(operation) = unknown.first() {
            return Err(ConfigError::UnknownOperation((*operation).clone()));
        }
        document.paths = paths;
        require_a_key(&self.policy, document);
        Ok(())
    }

    fn requirements_of(
        &self,
        guards: &[&Require],
        method: &Method,
        path: &str,
        name: String,
    ) -> Result<Vec<SecurityRequirement>, ConfigError> {
        let alternatives = intersect(guards.iter().copied(), method, path);
        if alternatives.is_empty() {
            return Err(ConfigError::UnsatisfiableGuard(name));
        }
        let mut security = requirements(&self.policy, &alternatives);
        if guards.iter().all(|guard| guard.is_open(method, path)) {
            security.insert(0, SecurityRequirement::default());
        }
        Ok(security)
    }
}

/// Returns every operation of a path, with its method.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let fixed = [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("DELETE", &mut item.delete),
        ("OPTIONS", &mut item.options),
        ("HEAD", &mut item.head),
        ("PATCH", &mut item.patch),
        ("TRACE", &mut item.trace),
        ("QUERY", &mut item.query),
    ];
    let fixed = fixed.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)));
    let others = item.additional_operations.iter_mut().map(|(method, operation)| (method.as_str(), operation));
    fixed.chain(others).filter_map(|(method, operation)| Some((Method::from_bytes(method.as_bytes()).ok()?, operation)))
}
