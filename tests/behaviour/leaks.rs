//! Tests reports of keys that were found in public.

#[cfg(feature = "leak-reports")]
mod github;
mod patterns;
mod registry;
mod reported_keys;
#[cfg(feature = "leak-reports")]
mod reports;
#[cfg(feature = "leak-reports")]
mod scanner;
#[cfg(feature = "leak-reports")]
mod shared_secret;
#[cfg(feature = "admin-api")]
mod shown;

use tower_api_key::{
    ApiKey, KeyManager, Owner,
    manage::{Actor, EventFilter, Issued, KeyEvent, KeyEventKind, Leak, LeakAction, LeakOutcome},
};

use crate::support::registry::everything;

const URL: &str = "https://github.com/octocat/Hello-World/blob/12345600b9cbe38a219f39a9941c9319b600c002/foo/bar.txt";

/// An actor that sees every key.
fn operator() -> Actor {
    Actor::trusted(Owner::ServiceAccount, everything()).across_organizations()
}

fn leak() -> Leak {
    Leak::new("commit").with_url(URL)
}

async fn report(manager: &KeyManager, key: &ApiKey, action: LeakAction) -> LeakOutcome {
    manager.report_leak(key, leak(), action).await.unwrap()
}

/// Returns the events of this kind, newest first.
async fn events(manager: &KeyManager, kind: KeyEventKind) -> Vec<KeyEvent> {
    let filter = EventFilter::all_organizations().kind(kind).limit(1_000);
    manager.events(&operator(), filter).await.unwrap().events
}

async fn reports_of(manager: &KeyManager, issued: &Issued) -> Vec<KeyEvent> {
    let reports = events(manager, KeyEventKind::Leaked).await;
    reports.into_iter().filter(|event| event.key_id() == issued.record().id()).collect()
}
