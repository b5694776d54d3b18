//! M14: the answer's bytes are the only copy of a new key.

use axum::body::Body;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;
use tower_api_key::manage::NewKey;

use super::{Keys, bot};
use crate::support::registry::admin;

/// Searches this process's memory and counts how often a text occurs. The search keeps no copy: it
/// compares with the reversed text, byte by byte.
#[cfg(target_os = "linux")]
mod memory {
    use std::{
        fs::{File, read_to_string},
        os::unix::fs::FileExt,
    };

    const TURN: u8 = 0xA5;
    const CHUNK: usize = 1 << 16;

    pub(super) fn turned(text: &[u8]) -> Vec<u8> {
        text.iter().map(|byte| byte ^ TURN).collect()
    }

    pub(super) fn copies_of(turned: &[u8]) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let (mut chunk, mut found) = (vec![0; CHUNK + turned.len()], 0);
        let own = chunk.as_ptr().addr() as u64;
        let own = own..own + chunk.len() as u64;
        for line in read_to_string("/proc/self/maps").unwrap().lines() {
            let mut words = line.split_whitespace();
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            if !rights.starts_with("rw") || line.ends_with("[stack]") {
                continue;
            }
            let (begin, end) = range.split_once('-').unwrap();
            let (mut at, end) = (u64::from_str_radix(begin, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            while at < end {
                // This buffer holds what was read just before it, so it is left out.
                if own.contains(&at) {
                    at = own.end;
                    continue;
                }
                let len = if at < own.start { own.start.min(end) - at } else { end - at };
                let len = usize::try_from(len).unwrap().min(chunk.len());
                chunk.fill(0);
                let read = memory.read_at(&mut chunk[..len], at).unwrap_or(0);
                for byte in &mut chunk {
                    *byte ^= TURN;
                }
                let matches = chunk[..read]
                    .windows(turned.len())
                    .enumerate()
                    .filter(|(place, window)| *place < CHUNK && *window == turned);
                found += matches.count();
                at += CHUNK as u64;
            }
        }
        found
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn m14_the_answers_own_bytes_are_the_only_copy_of_a_new_key() {
    let keys = Keys::default().await;
    let old = keys.manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().to_string();
    for line in ["POST /api/keys".to_owned(), format!("POST /api/keys/{old}/regenerate"), "rotate".to_owned()] {
        let (line, body) = if line == "rotate" {
            let id =
                keys.manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().to_string();
            (format!("POST /api/keys/{id}/rotate"), json!({"grace_seconds": 60}).to_string())
        } else {
            (line.clone(), if line.ends_with("keys") { bot("x") } else { "{}".into() })
        };
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path).header("x-api-key", &keys.admin);
        let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap();
        let response = keys.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 201, "{line}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let begin = bytes.windows(7).position(|window| window == br#""key":""#).unwrap() + 7;
        // Skips the first characters, which a hasher or an allocator may have overwritten in a
        // freed copy.
        let turned = memory::turned(&bytes[begin + 16..begin + 46]);
        assert_eq!(memory::copies_of(&turned), 1, "{line}: outside of the response bytes");
        drop(bytes);
        assert_eq!(memory::copies_of(&turned), 0, "{line}: after the response was sent");
    }
}
