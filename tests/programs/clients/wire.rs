//! A proxy between a client and a service: it forwards every byte of one connection, and records
//! them.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
};

use crate::support::bounds::REPLY;

pub(crate) struct Wire {
    /// The address for the client.
    pub(crate) url: String,
    carried: Receiver<Exchange>,
}

/// The request and the response.
pub(crate) struct Exchange {
    pub(crate) request: String,
    pub(crate) response: String,
}

impl Wire {
    pub(crate) fn to(service: &str) -> Self {
        let address = service.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, carried) = mpsc::channel();
        thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            drop(listener);
            let service = TcpStream::connect(address).unwrap();
            let (asking, asked) = (client.try_clone().unwrap(), service.try_clone().unwrap());
            let request = thread::spawn(move || carry(asking, asked));
            let response = carry(service, client);
            let _ = sender.send(Exchange { request: request.join().unwrap(), response });
        });
        Self { url, carried }
    }

    /// Call it when the client has ended. Returns `None` if the client sent nothing.
    pub(crate) fn carried(self) -> Option<Exchange> {
        self.carried.recv_timeout(REPLY).ok()
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) -> String {
    from.set_read_timeout(Some(REPLY)).unwrap();
    let (mut carried, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        carried.extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    String::from_utf8(carried).unwrap()
}
