//! Listens, serves, and ends gracefully.
//!
//! A slow or silent client costs one connection for half a minute, and the listeners share no
//! connections: so no client of one can make another one unavailable.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::sleep};
use tower_http::{add_extension::AddExtensionLayer, timeout::RequestBodyTimeoutLayer};

use super::{descriptors, routes::Served};
use crate::{exit::Failure, interrupt, output};

/// The bound addresses, each with its router.
pub(super) struct Listeners(Vec<Listener>);

struct Listener {
    what: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    router: Router,
    accepts_http2: bool,
}

/// How long a client may take for the head of a request, or for the next part of its body. An idle
/// connection is closed after this time.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait after an error of `accept`, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

// === impl Listeners ===

impl Listeners {
    pub(super) async fn bind(served: Vec<Served>) -> Result<Self, Failure> {
        let mut listeners = Vec::with_capacity(served.len());
        for Served { what, address, router, accepts_http2 } in served {
            let failed = |error| Failure::Failed(format!("cannot listen on {address} ({what}): {error}"));
            let socket = TcpListener::bind(address).await.map_err(failed)?;
            // Port 0 is any free one.
            let address = socket.local_addr().map_err(failed)?;
            listeners.push(Listener { what, socket, address, router, accepts_http2 });
        }
        Ok(Self(listeners))
    }

    pub(super) fn urls(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.iter().map(|listener| (listener.what, format!("http://{}", listener.address)))
    }

    /// Serves until a signal, and then until all connections have ended, for at most
    /// `shutdown_timeout`.
    pub(super) async fn serve(self, shutdown_timeout: Duration) {
        let connections = descriptors::connections(self.0.len());
        let mut serving = JoinSet::new();
        for listener in self.0 {
            serving.spawn(listener.serve(connections, CLIENT_TIMEOUT));
        }
        let too_long = async {
            interrupt::requested().await;
            sleep(shutdown_timeout).await;
        };
        tokio::select! {
            _ = serving.join_all() => {}
            () = too_long => output::note("tower-api-key: some connections did not end in time, and are closed"),
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Accepts connections, at most so many at the same time, until a signal. Then waits until they
    /// have ended.
    async fn serve(self, connections: usize, client_timeout: Duration) {
        let Self { socket, router, accepts_http2, .. } = self;
        let router = router.layer(RequestBodyTimeoutLayer::new(client_timeout));
        let server = server(accepts_http2, client_timeout);
        let open = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(connections));
        while let Some(Ok(place)) = before_signal(Arc::clone(&places).acquire_owned()).await {
            let Some(accepted) = before_signal(socket.accept()).await else { break };
            let Ok((stream, peer)) = accepted else {
                sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let router = router.clone().layer(AddExtensionLayer::new(ConnectInfo(peer)));
            let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            let connection = open.watch(connection.into_owned());
            tokio::spawn(async move {
                // An error is the client's: it is slow, or has gone.
                let _ = connection.await;
                drop(place);
            });
        }
        drop(socket);
        open.shutdown().await;
    }
}

/// HTTP/1, or also HTTP/2 without TLS, which Envoy speaks. A client may wait forever before it is
/// known which of the two it speaks, so only an address for a gateway accepts both.
fn server(accepts_http2: bool, client_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(client_timeout);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(client_timeout).keep_alive_timeout(client_timeout);
    if accepts_http2 { server } else { server.http1_only() }
}

/// Returns `None` after a signal.
async fn before_signal<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = interrupt::requested() => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    /// A client timeout for a test that waits for it.
    const SHORT: Duration = Duration::from_millis(300);

    /// Returns what the service sends to a client that sends this and then nothing, until it closes
    /// the connection.
    async fn answer_until_the_end(sent: &[u8], accepts_http2: bool) -> String {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(sent).await.unwrap();
        let router = Router::new().route("/", post(async |body: String| body));
        let serving = tokio::spawn(Listener { what: "test", socket, address, router, accepts_http2 }.serve(1, SHORT));
        let mut answer = Vec::new();
        // A connection that is reset has ended too.
        let ended = timeout(CLIENT_TIMEOUT, client.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection is still open");
        serving.abort();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_more_is_disconnected() {
        let whole = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok";
        let half_a_body = whole.strip_suffix('k').unwrap();
        for (sent, status) in
            [("", None), ("POST / HTTP/1.1\r\nhost:", None), (whole, Some("200")), (half_a_body, Some("4"))]
        {
            let answer = answer_until_the_end(sent.as_bytes(), false).await;
            match status {
                Some(status) => assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{sent}: {answer}"),
                None => assert!(!answer.starts_with("HTTP/1.1 2"), "{sent}: {answer}"),
            }
        }
        // Beside HTTP/2 too, once it is known that a client speaks HTTP/1.
        assert!(answer_until_the_end(whole.as_bytes(), true).await.starts_with("HTTP/1.1 200"));
    }
}
