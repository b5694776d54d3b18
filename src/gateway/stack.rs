//! Runs an original request through the layer and the guard.
//!
//! They are the tower services that protect a service directly, so limits, costs, observers and the
//! format of a rejection are those of the layer. In place of the service is [`Admit`].

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    task::{Context, Poll},
};

use axum::{body::Body, response::IntoResponse};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL},
    response::Parts,
};
use tower_layer::Layer;
use tower_service::Service;

use super::identity;
use crate::{guard::Require, layer::ApiKeyLayer, principal::Principal, rejection::Rejection};

/// A layer, and the guard inside it.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub(super) layer: ApiKeyLayer,
    pub(super) guard: Require,
}

/// The response of the stack.
pub(super) enum Answer {
    /// The request may reach the service.
    Admitted { head: Parts, principal: Option<Principal> },
    /// The status is never 2xx.
    Refused { head: Parts, body: Body },
}

/// Takes the place of the service: it answers 200 with the identity.
#[derive(Clone, Copy)]
struct Admit;

/// Marks the response of [`Admit`].
#[derive(Clone)]
struct Admitted(Option<Principal>);

/// Gives the content types back to a request of gRPC, between the layer and the guard.
#[derive(Clone)]
struct ContentTypes<S>(S);

/// The content types that the layer does not see.
#[derive(Clone)]
struct Kept(Vec<HeaderValue>);

impl Stack {
    /// Returns the response for an original request.
    ///
    /// A layer with `grpc` answers a gRPC request with the status 200 for each rejection. It
    /// recognizes one by its content type, so only the guard sees the content type of gRPC.
    pub(super) async fn ask(&self, mut request: Request<()>) -> Answer {
        if let Some(kept) = take_grpc(request.headers_mut()) {
            request.extensions_mut().insert(kept);
        }
        let mut service = self.layer.layer(ContentTypes(self.guard.layer(Admit)));
        let Ok(()) = poll_fn(|context| Service::<Request<()>>::poll_ready(&mut service, context)).await;
        let Ok(response) = service.call(request).await;
        let (mut head, body) = response.into_parts();
        // The protocol is for the service to select. The length is that of a body which a HEAD does
        // not have.
        head.headers.remove(SEC_WEBSOCKET_PROTOCOL);
        head.headers.remove(CONTENT_LENGTH);
        let admitted = head.extensions.remove::<Admitted>();
        head.extensions.clear();
        match admitted {
            Some(Admitted(principal)) if head.status == StatusCode::OK => Answer::Admitted { head, principal },
            Some(_) | None => Answer::Refused { head, body: Body::new(body) },
        }
    }
}

fn take_grpc(headers: &mut HeaderMap) -> Option<Kept> {
    let begins = |value: &HeaderValue| {
        const GRPC: &[u8] = b"application/grpc";
        value.as_bytes().get(..GRPC.len()).is_some_and(|head| head.eq_ignore_ascii_case(GRPC))
    };
    headers.get(CONTENT_TYPE).filter(|first| begins(first))?;
    let kept = headers.get_all(CONTENT_TYPE).iter().cloned().collect();
    headers.remove(CONTENT_TYPE);
    Some(Kept(kept))
}

// === impl Admit, ContentTypes ===

impl Service<Request<()>> for Admit {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        let principal = request.extensions_mut().remove::<Principal>();
        ready(Ok(match identity::headers(principal.as_ref()) {
            Ok(headers) => {
                let mut response = Response::new(Body::empty());
                *response.headers_mut() = headers;
                response.extensions_mut().insert(Admitted(principal));
                response
            }
            Err(identity::TooLong(what)) => {
                Rejection::broken(&format!("the {what} of a key is too long for a gateway's answer")).into_response()
            }
        }))
    }
}

impl<S> Service<Request<()>> for ContentTypes<S>
where
    S: Service<Request<()>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<()>) -> S::Future {
        if let Some(Kept(kept)) = request.extensions_mut().remove() {
            for value in kept {
                request.headers_mut().append(CONTENT_TYPE, value);
            }
        }
        self.0.call(request)
    }
}
