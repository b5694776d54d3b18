//! Tests a limit on requests at the same time over HTTP/2, where many streams share a connection: gRPC
//! clients drop streams and connections at random moments, and no place in the limit is lost.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyRecord,
    limit::{Limit, Limits, Plans},
    store::MemoryStore,
};

use crate::support::{LIVE, until};

/// The places of the key.
const MOST: u64 = 8;

const CLIENTS: usize = 32;
const STREAMS: u64 = 4_000;

/// Starts a service whose streams have no end.
async fn serve() -> (Endpoint, Limits, KeyRecord) {
    let record = KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    let store = MemoryStore::new();
    store.add(record.clone()).unwrap();
    let plans = Plans::new().plan("plan", [Limit::concurrency("streams", 8)]).default_plan("plan");
    let limits = Limits::in_process(plans).build().unwrap();
    let layer = ApiKeyLayer::builder(store).grpc().limits(limits.clone()).build().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().layer(layer).add_service(health).serve_with_incoming(TcpIncoming::from(listener)));
    (Channel::from_shared(format!("http://{address}")).unwrap(), limits, record)
}

async fn watch(channel: Channel) -> Result<Streaming<HealthCheckResponse>, Status> {
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    request.metadata_mut().insert("x-api-key", LIVE.parse().unwrap());
    HealthClient::new(channel).watch(request).await.map(tonic::Response::into_inner)
}

/// Opens a stream, and leaves it at a moment that depends on the number: before the answer, before the
/// first message, or later. Returns whether the service has accepted it.
async fn leave(channel: Channel, number: u64) -> bool {
    let moment = Duration::from_micros(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52);
    let call = tokio::spawn(watch(channel));
    if number.is_multiple_of(4) {
        sleep(moment).await;
        call.abort();
    }
    match call.await {
        Ok(Ok(mut stream)) => {
            if number % 4 > 1 {
                stream.message().await.unwrap();
            }
            if number % 4 > 2 {
                sleep(moment).await;
            }
            true
        }
        Ok(Err(status)) => {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            false
        }
        Err(aborted) => {
            assert!(aborted.is_cancelled());
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_is_lost_by_thousands_of_http_2_streams_that_end_at_random_moments() {
    let (endpoint, limits, record) = serve().await;
    let shared = endpoint.connect().await.unwrap();
    let (next, accepted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (endpoint, shared, next, accepted) =
            (endpoint.clone(), shared.clone(), Arc::clone(&next), Arc::clone(&accepted));
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= STREAMS {
                    break;
                }
                // Some streams end with their connection.
                let own = number % 8 == 7;
                let channel = if own { endpoint.connect().await.unwrap() } else { shared.clone() };
                accepted.fetch_add(leave(channel, number).await.into(), Ordering::Relaxed);
            }
        });
    }
    clients.join_all().await;
    assert!(accepted.load(Ordering::Relaxed) > STREAMS / 10, "{accepted:?} streams reach the service");

    let left = || limits.remaining(&record).unwrap()[0].requests;
    until(async || left() == MOST).await;
    let mut streams = Vec::new();
    for _ in 0..MOST {
        streams.push(watch(shared.clone()).await.unwrap());
    }
    assert_eq!(watch(shared.clone()).await.unwrap_err().code(), Code::ResourceExhausted);
    drop(streams.pop());
    until(async || left() == 1).await;
    assert!(watch(shared).await.is_ok());
}
