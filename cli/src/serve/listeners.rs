//! Listens, serves, and ends gracefully.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use super::routes::Served;
use crate::{exit::Failure, interrupt, output};

/// The bound addresses, each with its router.
pub(super) struct Listeners(Vec<Listener>);

struct Listener {
    what: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    router: Router,
}

// === impl Listeners ===

impl Listeners {
    pub(super) async fn bind(served: Vec<Served>) -> Result<Self, Failure> {
        let mut listeners = Vec::with_capacity(served.len());
        for Served { what, address, router } in served {
            let failed = |error| Failure::Failed(format!("cannot listen on {address} ({what}): {error}"));
            let socket = TcpListener::bind(address).await.map_err(failed)?;
            // Port 0 is any free one.
            let address = socket.local_addr().map_err(failed)?;
            listeners.push(Listener { what, socket, address, router });
        }
        Ok(Self(listeners))
    }

    pub(super) fn urls(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.iter().map(|listener| (listener.what, format!("http://{}", listener.address)))
    }

    /// Serves until a signal, and then until all connections have ended, for at most `shutdown_timeout`.
    pub(super) async fn serve(self, shutdown_timeout: Duration) -> Result<(), Failure> {
        let mut serving = JoinSet::new();
        for Listener { socket, router, .. } in self.0 {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            serving.spawn(axum::serve(socket, service).with_graceful_shutdown(interrupt::requested()).into_future());
        }
        let ended = async {
            while let Some(ended) = serving.join_next().await {
                ended.map_err(std::io::Error::other).flatten()?;
            }
            Ok::<_, std::io::Error>(())
        };
        let too_long = async {
            interrupt::requested().await;
            sleep(shutdown_timeout).await;
        };
        tokio::select! {
            ended = ended => ended.map_err(|error| Failure::Failed(format!("cannot serve: {error}"))),
            () = too_long => {
                output::note("tower-api-key: some connections did not end in time, and are closed");
                Ok(())
            }
        }
    }
}
