//! axum's `from_fn`: the whole job by hand, as a function.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use tower::{Layer, Service};

use crate::{
    handwritten::{Table, unauthorized},
    rig::Bare,
};

pub fn service(table: Table) -> impl Service<Request, Response = Response, Error = Infallible> {
    from_fn_with_state(table, check).layer(Bare::<Body>::new())
}

async fn check(State(table): State<Table>, mut request: Request, next: Next) -> Response {
    match table.check(&request) {
        Some(known) => {
            request.extensions_mut().insert(known);
            next.run(request).await
        }
        None => unauthorized(),
    }
}
