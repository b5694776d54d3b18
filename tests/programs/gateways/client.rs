//! A client that keeps its connection, and that sends every byte as the test says.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

pub struct Connection(TcpStream);

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Connection {
    /// Connects from this address of the machine.
    pub async fn open(to: SocketAddr, from: [u8; 4]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        Self(socket.connect(to).await.unwrap())
    }

    pub async fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", target, headers).await
    }

    /// Sends a request, and reads the response. The connection stays open.
    pub async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: gateway.example\r\n{lines}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let end = loop {
            if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.0.read_buf(&mut read).await.unwrap() > 0, "the connection ended: {request}");
        };
        let head = String::from_utf8(read[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Response { status, head, body: String::new() };
        let is_chunked = response.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let length: usize = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        let is_whole = |body: &[u8]| if is_chunked { body.ends_with(b"0\r\n\r\n") } else { body.len() >= length };
        while method != "HEAD" && !is_whole(&read[end..]) {
            assert!(self.0.read_buf(&mut read).await.unwrap() > 0, "the connection ended: {request}");
        }
        response.body = String::from_utf8_lossy(&read[end..]).into_owned();
        response
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// Returns the values that the service got under this name.
    pub fn got(&self, name: &str) -> Vec<String> {
        let got: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let lines: Vec<(String, String)> = serde_json::from_value(got["headers"].clone()).unwrap();
        lines.into_iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}
