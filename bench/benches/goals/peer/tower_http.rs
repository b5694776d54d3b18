//! tower-http: its check of one fixed token, and the same check as ours by its layer for futures.

#![allow(deprecated, reason = "what is deprecated is used nevertheless")]

use std::pin::Pin;

use http::{Request, Response};
use tower_api_key::ApiKey;
use tower_http::{
    auth::{AsyncAuthorizeRequest, AsyncRequireAuthorizationLayer, require_authorization::Bearer},
    validate_request::ValidateRequestHeaderLayer,
};

use crate::handwritten::{Table, unauthorized};

/// One token, compared with `==`. The service does not learn its owner.
pub fn bearer(key: &ApiKey) -> ValidateRequestHeaderLayer<Bearer<()>> {
    ValidateRequestHeaderLayer::bearer(key.expose())
}

/// The whole job, in a boxed future, as its documentation shows it.
pub fn boxed(table: Table) -> AsyncRequireAuthorizationLayer<Boxed> {
    AsyncRequireAuthorizationLayer::new(Boxed(table))
}

#[derive(Clone)]
pub struct Boxed(Table);

impl<B: Send + Sync + 'static> AsyncAuthorizeRequest<B> for Boxed {
    type RequestBody = B;
    type ResponseBody = ();
    type Future = Pin<Box<dyn Future<Output = Result<Request<B>, Response<()>>> + Send>>;

    fn authorize(&mut self, mut request: Request<B>) -> Self::Future {
        let table = self.0.clone();
        Box::pin(async move {
            match table.check(&request) {
                Some(known) => {
                    request.extensions_mut().insert(known);
                    Ok(request)
                }
                None => Err(unauthorized()),
            }
        })
    }
}
