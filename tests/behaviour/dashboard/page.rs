//! The page and its files: where they are found, and their headers.

use axum::{Router, body::Body, routing::get};
use http::Request;
use tower::ServiceExt;

use super::{call, hosted, manager, status, with_keys};

/// The relative links of a page, as a browser resolves them.
fn links(page: &str, path: &str) -> Vec<String> {
    let folder = &path[..=path.rfind('/').unwrap()];
    let attributes = page.split(['"', ' ']).filter(|word| ["css", "js"].contains(&word.rsplit('.').next().unwrap()));
    attributes.map(|link| format!("{folder}{}", link.strip_prefix("./").unwrap_or(link))).collect()
}

#[tokio::test]
async fn the_page_finds_its_files_under_any_path_with_and_without_a_slash() {
    #[derive(Clone)]
    struct AppState;
    let manager = manager();
    let dashboard = || manager.dashboard().sign_in_with_session(async |_| None);
    for (path, app) in [
        ("/", dashboard().router().unwrap()),
        ("/keys", hosted(&manager)),
        ("/keys", dashboard().router_at("/keys").unwrap()),
        ("/keys/", dashboard().router_at("/keys").unwrap()),
        ("/keys/", dashboard().router_at("/keys/").unwrap()),
        ("/keys/", Router::new().nest_service("/keys", dashboard().router::<()>().unwrap())),
        (
            "/a/b/c",
            Router::<AppState>::new()
                .nest("/a", Router::new().nest("/b/c", dashboard().router().unwrap()))
                .with_state(AppState),
        ),
        ("/orgs/acme/keys", Router::new().nest("/orgs/{org}/keys", dashboard().router().unwrap())),
        ("/orgs/a%22b/%22%3E", Router::new().nest("/orgs/{org}/{name}", dashboard().router().unwrap())),
    ] {
        let page = call(&app, &format!("GET {path}"), &[], "").await;
        assert_eq!((page.status, page.headers["content-type"].as_bytes()), (200, &b"text/html; charset=utf-8"[..]));
        let links = links(&page.text, path);
        assert_eq!(links.len(), 4, "three style sheets and a script: {links:?}");
        for link in links {
            let file = call(&app, &format!("GET {link}"), &[], "").await;
            assert_eq!(file.status, 200, "{link} of {path}");
        }
    }
}

#[tokio::test]
async fn a_path_is_no_markup_in_the_page() {
    let page = manager().dashboard().sign_in_with_session(async |_| None).router().unwrap();
    let app: Router = Router::new().nest("/{name}", page);
    // `http` accepts these characters in a path, though no browser sends them.
    for path in ["/\"onload=alert(1)", "/'a'", "/a\"b"] {
        let Ok(request) = Request::get(path).body(Body::empty()) else { continue };
        let answer = app.clone().oneshot(request).await.unwrap();
        let text = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(!text.contains(path.trim_start_matches('/')), "{path}");
    }
}

#[tokio::test]
async fn the_title_and_the_link_are_no_markup_and_are_not_filled_in_twice() {
    let harmful = "</title><script>\"'& {{sign-in-link}} {{base}}";
    let page =
        manager().dashboard().sign_in_with_session(async |_| None).title(harmful).sign_in_link("/login?a=\"b\"&c='d'");
    let text = call(&page.router().unwrap(), "GET /", &[], "").await.text;
    let title = "</title>".len() + text.find("<title>").unwrap();
    assert!(
        text[title - 1..].starts_with("&lt;/title&gt;&lt;script&gt;&quot;&#39;&amp; {{sign-in-link}} {{base}}</title>")
    );
    assert!(text.contains(r#"href="/login?a=&quot;b&quot;&amp;c=&#39;d&#39;""#));
    assert!(!text.contains("<script>"));
}

/// No inline code, and every file that one names exists.
#[tokio::test]
async fn every_response_has_the_security_headers_and_no_script_is_inline() {
    let manager = manager();
    let app = with_keys(&manager);
    let page = call(&app, "GET /keys", &[], "").await.text;
    assert!(!page.contains("style=") && !page.contains("onclick") && page.matches("<script").count() == 1);
    let mut left = vec!["/keys/app.js".to_owned()];
    let mut seen = Vec::new();
    while let Some(path) = left.pop() {
        let script = call(&app, &format!("GET {path}"), &[], "").await;
        assert_eq!(
            (script.status, script.headers["content-type"].as_bytes()),
            (200, &b"text/javascript; charset=utf-8"[..])
        );
        assert!(
            !["innerHTML", "eval(", "document.write", "insertAdjacent"].iter().any(|word| script.text.contains(word))
        );
        seen.push(path);
        let imports =
            script.text.split("\"./").skip(1).map(|rest| format!("/keys/{}", rest.split('"').next().unwrap()));
        let new: Vec<_> = imports.filter(|import| !seen.contains(import) && !left.contains(import)).collect();
        left.extend(new);
    }
    assert_eq!(seen.len(), 16, "{seen:?}");
    for line in [
        "GET /keys",
        "GET /keys/",
        "GET /keys/style.css",
        "GET /keys/theme.css",
        "GET /keys/icon.svg",
        "GET /keys/app.js",
        "GET /keys/manage/session",
        "GET /keys/manage/keys",
        "POST /keys/manage/session",
        "DELETE /keys/manage/keys/x",
        "PUT /keys/manage/session",
    ] {
        let headers = call(&app, line, &[], "").await.headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        for directive in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(directive), "{line}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let others =
            [("x-content-type-options", "nosniff"), ("cache-control", "no-store"), ("x-frame-options", "DENY")];
        for (name, value) in others {
            assert_eq!(headers[name], value, "{line}");
        }
    }
}

#[tokio::test]
async fn the_style_sheet_of_the_application_comes_last() {
    let page = manager()
        .dashboard()
        .sign_in_with_session(async |_| None)
        .stylesheet(":root { --accent: red }")
        .router()
        .unwrap();
    let text = call(&page, "GET /", &[], "").await.text;
    assert!(text.find("style.css").unwrap() < text.find("theme.css").unwrap());
    let theme = call(&page, "GET /theme.css", &[], "").await;
    assert_eq!(
        (&*theme.text, theme.headers["content-type"].to_str().unwrap()),
        (":root { --accent: red }", "text/css; charset=utf-8")
    );
}

#[tokio::test]
async fn the_router_merges_with_other_routes_and_fallbacks() {
    let page = manager().dashboard().sign_in_with_session(async |_| None).router().unwrap();
    let app = Router::new().route("/other", get("other")).merge(page).fallback(async || "mine");
    assert_eq!(call(&app, "GET /other", &[], "").await.text, "other");
    assert_eq!(call(&app, "GET /nothing", &[], "").await.text, "mine");
    assert_eq!(status(&app, "GET /manage/session", &[]).await, 401);
}
