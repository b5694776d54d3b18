//! The layer that a careful team would write by hand: one scheme, one hash, one map, and no more.

use std::{
    collections::HashMap,
    convert::Infallible,
    hash::{BuildHasherDefault, Hasher},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tower::{Layer, Service};

use crate::rig::{self, Keys};

/// The keys, by the digests of their texts.
#[derive(Clone)]
pub struct Table(Arc<papaya::HashMap<[u8; 32], Arc<Known>, BuildHasherDefault<FirstBytes>>>);

/// What is known of a key.
pub struct Known {
    digest: [u8; 32],
    #[allow(dead_code, reason = "a handler would read it")]
    pub id: String,
    #[allow(dead_code, reason = "a handler would read it")]
    pub permissions: HashMap<String, Vec<String>>,
}

/// The response of a [`Checked`] service.
pub enum CheckedFuture<F, R> {
    Running(F),
    Refused(Option<Response<R>>),
}

/// A digest is uniform already.
#[derive(Default)]
pub struct FirstBytes(u64);

/// A service behind the check.
#[derive(Clone)]
pub struct Checked<S> {
    inner: S,
    table: Table,
}

// === impl Table ===

impl Table {
    pub fn new(keys: &Keys) -> Self {
        let table = papaya::HashMap::builder().hasher(BuildHasherDefault::default()).build();
        for (number, key) in keys.known.iter().enumerate() {
            let digest = Sha256::digest(key.expose()).into();
            let grants = ["links", "stats"].map(|resource| (resource.to_owned(), vec!["read".to_owned()]));
            let known = Known { digest, id: format!("key_{number:020}"), permissions: grants.into() };
            table.pin().insert(digest, Arc::new(known));
        }
        Self(Arc::new(table))
    }

    /// Finds the owner of the key in a request.
    pub fn check<B>(&self, request: &Request<B>) -> Option<Arc<Known>> {
        let key = rig::bearer(request.headers())?;
        let digest: [u8; 32] = Sha256::digest(key).into();
        let known = self.0.pin().get(&digest).cloned()?;
        is_equal(&known.digest, &digest).then_some(known)
    }
}

impl<S> Layer<S> for Table {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner, table: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for Checked<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Unpin>,
    R: Default + Unpin,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = CheckedFuture<S::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.table.check(&request) {
            Some(known) => {
                request.extensions_mut().insert(known);
                CheckedFuture::Running(self.inner.call(request))
            }
            None => CheckedFuture::Refused(Some(unauthorized())),
        }
    }
}

impl<F, R> Future for CheckedFuture<F, R>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
    R: Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.get_mut() {
            Self::Running(future) => Pin::new(future).poll(context),
            Self::Refused(response) => Poll::Ready(Ok(response.take().expect("polled after it was done"))),
        }
    }
}

pub fn unauthorized<R: Default>() -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// In constant time: one comparison of what differs at all, which is a tenth of comparing byte by byte.
fn is_equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let differing = one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other));
    differing.ct_eq(&0).into()
}

// === impl FirstBytes ===

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// The length of an array is no part of its hash.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
