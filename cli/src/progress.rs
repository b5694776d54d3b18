//! Progress of long work, on the standard error, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for `total` keys, or a count if the total is not known.
pub(crate) fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    // Nothing is drawn unless the standard error is a terminal.
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{msg} [{bar:30}] {human_pos}/{human_len} keys, {eta} left",
        None => "{spinner} {msg} {human_pos} keys",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
