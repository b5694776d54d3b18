//! Rejects requests in clear text, before their credential is read.

use std::{pin::Pin, sync::Arc};

use http::Request;

use super::{ApiKeyLayerBuilder, admit::Authenticator, check::Checker};
use crate::{
    key::Digests,
    record::KeyRecord,
    rejection::{Reason, Rejection},
    scheme::Credential,
    store::ErasedStore,
    transport::{ExposedKeys, Transport, TransportSource},
};

/// The requirement of TLS, and what happens to keys that come without it.
pub(super) struct TlsPolicy {
    pub(super) source: TransportSource,
    pub(super) exposed: Option<ExposedKeys>,
    /// The store of the layer, with the records as it keeps them.
    pub(super) store: Arc<dyn ErasedStore>,
}

impl TlsPolicy {
    /// Apart from the path of a layer without this policy.
    #[inline(never)]
    fn is_met<B>(&self, request: &Request<B>) -> bool {
        self.source.find(request) == Some(Transport::Tls)
    }
}

impl ApiKeyLayerBuilder {
    /// Rejects every request in clear text with 403, with and without a key, whether the key works
    /// or not ([`Reason::InsecureTransport`](crate::Reason::InsecureTransport)). A request whose
    /// transport is unknown is rejected too. See [`TransportSource`] for where it is read.
    ///
    /// The layer looks up no key before it responds. So the response is the same for all of these
    /// requests, and takes as long for a key that works as for another one. [Skipped](Self::skip)
    /// paths and [preflights](Self::pass_preflight) pass, as they need no key.
    ///
    /// A redirect to HTTPS in front of this layer does not protect keys, since the client has sent
    /// its key by then. Send `Strict-Transport-Security` (RFC 6797) over HTTPS for browsers.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, TransportSource, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// let behind_nginx = TransportSource::behind(["127.0.0.1"]).x_forwarded_proto()?;
    /// let layer = ApiKeyLayer::builder(MemoryStore::new()).require_tls(behind_nginx).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn require_tls(mut self, source: TransportSource) -> Self {
        self.requires_tls = Some(source);
        self
    }

    /// Calls `handle` with the record of a key that works and came in clear text, for example to
    /// revoke it. It needs [`require_tls`](Self::require_tls) and a tokio runtime.
    ///
    /// The key is looked up in a task of its own. The response does not wait for it, so the client
    /// learns nothing about the key. It is no use of the key. Only a listed proxy, or a
    /// [`Transport`] that your server inserts, exposes a key. The scheme of a URI does not: a proxy
    /// that uses HTTP/2 in clear text (h2c) writes `http` into the URI of each request.
    ///
    /// A [token](crate::token) in clear text is not looked up: it ends soon, and its key was not
    /// sent.
    ///
    /// At most 60 keys a minute are looked up, in each layer. So a client that sends guessed keys
    /// in clear text, to have them revoked, has 60 guesses a minute. While such a flood lasts,
    /// exposed keys may not be noticed.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, TransportSource, layer::ApiKeyLayerBuilder, manage::Actor};
    ///
    /// fn protected(manager: &KeyManager, service: Actor) -> ApiKeyLayerBuilder {
    ///     let revoking = manager.clone();
    ///     let service = service.because("the key was sent in clear text");
    ///     manager.layer().require_tls(TransportSource::server()).on_exposed_key(move |key| {
    ///         let (manager, service) = (revoking.clone(), service.clone());
    ///         async move {
    ///             if let Err(error) = manager.revoke(&service, key.id()).await {
    ///                 eprintln!("the exposed key {} still works: {error}", key.id());
    ///             }
    ///         }
    ///     })
    /// }
    /// ```
    pub fn on_exposed_key<F>(mut self, handle: impl Fn(KeyRecord) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.on_exposed = Some(Arc::new(move |record| Box::pin(handle(record)) as Pin<Box<_>>));
        self
    }
}

impl Authenticator {
    /// Returns whether the layer requires TLS, and the request did not come over it.
    #[inline]
    pub(super) fn is_insecure<B>(&self, request: &Request<B>) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_met(request))
    }

    /// Rejects a request that did not come over TLS, and looks up its key if that is exposed.
    #[cold]
    #[inline(never)]
    pub(super) fn insecure<B>(&self, request: &Request<B>) -> Rejection {
        let tls = self.tls.as_ref();
        if let Some(TlsPolicy { source, exposed: Some(exposed), store }) = tls
            && source.exposes(request)
        {
            self.checker.expose(exposed, store, request);
        }
        Rejection::new(Reason::InsecureTransport)
    }
}

impl Checker {
    /// Looks up the key of a request in clear text.
    fn expose<B>(&self, exposed: &ExposedKeys, store: &Arc<dyn ErasedStore>, request: &Request<B>) {
        let Ok(Credential { key, .. }) = self.reader.read(request.headers(), request.uri()) else { return };
        if self.is_token(&key) || !self.has_checksum(&key) {
            return;
        }
        let newest = self.hasher.digest_prepared(&self.hasher.prepare(&key));
        let digests = Digests { first: newest, rest: self.hasher.others(&key, newest).collect() };
        let (store, deadline, clock) = (Arc::clone(store), self.deadline, self.bounds.clock.clone());
        exposed.look_up(self.bounds.clock.now(), digests, |digests| async move {
            let found = store.find(digests.clone(), deadline).await;
            found.ok().flatten().filter(|record| record.works(digests.iter(), &clock))
        });
    }
}
