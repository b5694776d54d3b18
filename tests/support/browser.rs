//! Chromium, driven by chromedriver.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

/// A browser. Dropping it ends the driver.
pub struct Browser {
    pub client: Client,
    driver: Child,
    pub driver_url: String,
}

impl Browser {
    pub async fn start() -> Self {
        // The driver takes one free port for IPv4 and for IPv6. Another program may take it in between.
        let (driver, port) = (0..5).find_map(|_| start_driver()).expect("chromedriver has no port");
        let driver_url = format!("http://127.0.0.1:{port}");
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let capabilities = json!({ "goog:chromeOptions": { "args": arguments } });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client =
            builder.capabilities(capabilities.as_object().unwrap().clone()).connect(&driver_url).await.unwrap();
        Self { client, driver, driver_url }
    }
}

/// Returns `None` if the driver has ended without a port.
fn start_driver() -> Option<(Child, String)> {
    let driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn();
    let mut driver = driver.expect("chromedriver is not installed");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map(Result::unwrap);
    let port =
        lines.find_map(|line| Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned()));
    if port.is_none() {
        driver.wait().unwrap();
    }
    Some((driver, port?))
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
