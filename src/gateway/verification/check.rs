//! Verifies one key.

use std::net::IpAddr;

use http::{Method, Request, StatusCode, Uri, header::RETRY_AFTER};
use zeroize::Zeroizing;

use super::Verifier;
use crate::{
    address::PeerAddress,
    clock::whole_seconds,
    gateway::stack::{Answer, Stack},
    principal::Principal,
    rejection::Rejection,
    scheme::{Scheme, write::Writer},
    transport::Transport,
};

/// A key, and the request that it is for.
pub(super) struct Question {
    pub(super) key: Zeroizing<String>,
    pub(super) client: Option<IpAddr>,
    pub(super) target: Option<(Method, Uri)>,
}

/// Why a key is not accepted.
#[derive(Debug)]
pub(super) struct NotAccepted {
    pub(super) status: StatusCode,
    /// In seconds.
    pub(super) retry_after: Option<u64>,
}

impl Verifier {
    /// Verifies a key, and has the guard check the request that it is for.
    pub(super) async fn check(&self, question: Question) -> Result<Principal, NotAccepted> {
        let unauthorized = || NotAccepted { status: StatusCode::UNAUTHORIZED, retry_after: None };
        let writer = self.writer(&question.key).ok_or_else(unauthorized)?;
        let mut request = Request::new(());
        // The layer around the router has checked how the key came here.
        request.extensions_mut().insert(Transport::Tls);
        if let Some(client) = question.client {
            request.extensions_mut().insert(PeerAddress(client));
        }
        let (stack, mut uri) = match (question.target, &self.stack) {
            (Some((method, uri)), Some(stack)) => {
                *request.method_mut() = method;
                (Some(stack), uri)
            }
            (Some(_), None) => {
                return Err(NotAccepted { status: StatusCode::INTERNAL_SERVER_ERROR, retry_after: None });
            }
            (None, _) => (None, Uri::default()),
        };
        writer.write(request.headers_mut(), &mut uri);
        *request.uri_mut() = uri;
        match stack {
            Some(stack) => ask(stack, request).await,
            None => self.layer.authenticate(&request).await.map_err(|rejection| NotAccepted::from(&rejection)),
        }
    }

    /// Writes the key in the place of the first scheme that can carry it. A query parameter comes
    /// last: observers and checks may show the URI.
    fn writer(&self, key: &str) -> Option<Writer> {
        let all = self.layer.schemes().schemes();
        let is_query = |scheme: &&Scheme| scheme.to_string().starts_with("query:");
        let mut schemes = all.iter().filter(|scheme| !is_query(scheme)).chain(all.iter().filter(is_query));
        schemes.find_map(|scheme| Writer::new(scheme, key).ok())
    }
}

async fn ask(stack: &Stack, request: Request<()>) -> Result<Principal, NotAccepted> {
    match stack.ask(request).await {
        Answer::Admitted { principal: Some(principal), .. } => Ok(principal),
        // The request needs no key, so this one was not verified.
        Answer::Admitted { principal: None, head } => Err(NotAccepted { status: head.status, retry_after: None }),
        Answer::Refused { head, .. } => {
            let seconds = head.headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
            let is_refusal = !head.status.is_success();
            let status = if is_refusal { head.status } else { StatusCode::INTERNAL_SERVER_ERROR };
            Err(NotAccepted { status, retry_after: seconds })
        }
    }
}

impl From<&Rejection> for NotAccepted {
    fn from(rejection: &Rejection) -> Self {
        let retry_after = rejection.retry_after().map(|after| whole_seconds(after).max(1));
        Self { status: rejection.reason().problem().status(), retry_after }
    }
}
