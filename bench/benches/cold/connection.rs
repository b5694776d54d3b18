//! A connection of hyper whose bytes come from memory, polled by hand: no socket, no runtime and no other thread.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use axum::Router;
use hyper::{
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
};
use hyper_util::service::TowerToHyperService;

type Served = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

pub struct Connection {
    served: Served,
    bytes: Bytes,
}

/// What the client has sent and not yet been read, and what the server has sent.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<(Vec<u8>, Vec<u8>)>>);

impl Connection {
    pub fn new(router: Router) -> Self {
        let bytes = Bytes::default();
        let served = http1::Builder::new().serve_connection(bytes.clone(), TowerToHyperService::new(router));
        Self { served: Box::pin(served), bytes }
    }

    /// Sends a request, and lets the server work until it waits for the next one.
    pub fn send(&mut self, request: &[u8]) {
        self.bytes.lock().0.extend_from_slice(request);
        let polled = self.served.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "the connection has ended");
    }

    /// Checks the response, and forgets it.
    pub fn check(&mut self, status: &str) {
        let mut bytes = self.bytes.lock();
        let response = std::mem::take(&mut bytes.1);
        assert!(bytes.0.is_empty() && response.starts_with(status.as_bytes()), "{}", response.escape_ascii());
    }
}

impl Bytes {
    fn lock(&self) -> MutexGuard<'_, (Vec<u8>, Vec<u8>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Bytes {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut bytes = self.lock();
        let len = bytes.0.len().min(to.remaining());
        if len == 0 {
            return Poll::Pending;
        }
        to.put_slice(&bytes.0[..len]);
        bytes.0.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl Write for Bytes {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().1.extend_from_slice(from);
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
