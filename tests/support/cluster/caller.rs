//! Sends requests to a node over a kept connection.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, sleep},
};

use super::{kind::CLIENT, victim::Victim};
use crate::support::bounds::RECOVERY;

/// One connection to a node.
pub struct Caller(BufReader<TcpStream>);

// === impl Caller ===

impl Caller {
    pub async fn connect(node: SocketAddr) -> Self {
        let stream = TcpStream::connect(node).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub async fn get(&mut self, path: &str, key: &str) -> (u16, Vec<u8>) {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: node\r\nx-forwarded-for: {CLIENT}\r\nx-api-key: {key}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            assert!(self.0.read_line(&mut head).await.unwrap() > 0, "the node closed the connection: GET {path}");
            if let Some(value) = head[start..].strip_prefix("content-length: ") {
                length = value.trim_end().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (head["HTTP/1.1 ".len()..][..3].parse().unwrap(), body)
    }

    /// Calls with a key that has lost something or will, and records the result. Returns whether it
    /// was rejected.
    pub async fn try_key(&mut self, victim: &Victim) -> bool {
        let start = Instant::now();
        match self.get("/stats", &victim.key).await.0 {
            200 => victim.accepted(start),
            503 => {}
            status => {
                assert_eq!(status, victim.kind.refusal(), "{}", victim.id);
                assert!(victim.commit_was_sent(), "{} was rejected before its change", victim.id);
                return true;
            }
        }
        false
    }

    /// Calls until the change was made and the key then rejected for `linger`; or gives up.
    pub async fn hammer(&mut self, victim: &Victim, pause: Duration, linger: Duration) {
        let (begin, mut refused_since) = (Instant::now(), None);
        let is_over =
            |since: Option<Instant>| victim.is_changed() && since.is_some_and(|since| since.elapsed() > linger);
        while !is_over(refused_since) && begin.elapsed() < RECOVERY {
            refused_since = if self.try_key(victim).await { refused_since.or(Some(Instant::now())) } else { None };
            sleep(pause).await;
        }
    }
}
