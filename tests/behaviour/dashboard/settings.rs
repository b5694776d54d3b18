//! Settings that cannot be used, and what a person reads about them.

use axum::Router;
use tower_api_key::{ConfigError, Scheme, dashboard::DashboardBuilder};

use super::{call, manager};

fn error(page: DashboardBuilder) -> String {
    page.router::<()>().unwrap_err().to_string()
}

#[test]
fn a_sign_in_that_is_missing_or_set_twice_is_an_error() {
    let manager = manager();
    let auth = manager.layer().build().unwrap();
    let both = manager.dashboard().sign_in_with_keys(&auth).sign_in_with_session(async |_| None);
    assert_eq!(error(both), "dashboard: sign-in: call only one of `sign_in_with_session` and `sign_in_with_keys`");
    assert_eq!(error(manager.dashboard()), "dashboard: sign-in: call `sign_in_with_session` or `sign_in_with_keys`");
    for scheme in [Scheme::cookie("key"), Scheme::query("key"), Scheme::basic()] {
        let auth = manager.layer().schemes([scheme]).build().unwrap();
        let page = manager.dashboard().sign_in_with_keys(&auth);
        assert_eq!(error(page), "dashboard: sign_in_with_keys: let the layer accept keys in a header");
    }
    assert!(matches!(manager.dashboard().router_at::<()>("/keys"), Err(ConfigError::Dashboard("sign-in", _))));
}

#[tokio::test]
async fn a_link_is_a_path_or_a_web_address() {
    let manager = manager();
    let page = |link: &str| manager.dashboard().sign_in_with_session(async |_| None).sign_in_link(link);
    for link in ["javascript:alert(1)", "login", "//evil.example", "/\\evil.example", "data:text/html,x", "", "/a\nb"] {
        assert_eq!(error(page(link)), "dashboard: sign_in_link: begin it with /, https:// or http://", "{link}");
    }
    for link in ["/login", "/login?next=/keys", "https://login.example/"] {
        let app: Router = page(link).router().unwrap();
        assert!(call(&app, "GET /", &[], "").await.text.contains(&format!("href=\"{link}\"")));
    }
    let without: Router = manager.dashboard().sign_in_with_session(async |_| None).router().unwrap();
    assert!(call(&without, "GET /", &[], "").await.text.contains("href=\"\""), "the page hides the link");
}

#[test]
fn debug_shows_no_style_sheet() {
    let page = manager().dashboard().title("Acme").stylesheet("x".repeat(1_000));
    assert!(format!("{page:?}").len() < 200);
}
