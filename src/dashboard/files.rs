//! The scripts and style sheets of the page.

pub(super) const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page: path, media type, text.
pub(super) const FILES: [(&str, &str, &str); 19] = [
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/style.css", STYLE, include_str!("page/style.css")),
    ("/list.css", STYLE, include_str!("page/list.css")),
    ("/api.js", SCRIPT, include_str!("page/api.js")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/credits.js", SCRIPT, include_str!("page/credits.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/forms.js", SCRIPT, include_str!("page/forms.js")),
    ("/grid.js", SCRIPT, include_str!("page/grid.js")),
    ("/history.js", SCRIPT, include_str!("page/history.js")),
    ("/import.js", SCRIPT, include_str!("page/import.js")),
    ("/many.js", SCRIPT, include_str!("page/many.js")),
    ("/menu.js", SCRIPT, include_str!("page/menu.js")),
    ("/parts.js", SCRIPT, include_str!("page/parts.js")),
    ("/row.js", SCRIPT, include_str!("page/row.js")),
    ("/search.js", SCRIPT, include_str!("page/search.js")),
    ("/shown.js", SCRIPT, include_str!("page/shown.js")),
    ("/state.js", SCRIPT, include_str!("page/state.js")),
    ("/usage.js", SCRIPT, include_str!("page/usage.js")),
];
