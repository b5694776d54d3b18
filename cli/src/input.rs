//! What a person or a pipe gives: the text of a key, and answers to questions.

use std::{
    io::{self, BufRead, IsTerminal, Read},
    path::Path,
};

use tower_api_key::ApiKey;
use zeroize::Zeroizing;

use crate::{exit::Failure, output};

/// The longest input that may be the text of a key, in bytes. A key has at most 4,096.
const LONGEST_KEY: usize = 16 * 1024;

/// Reads the text of one key from the standard input. On a terminal, it asks for the key and hides
/// what is typed.
pub(crate) fn key() -> Result<ApiKey, Failure> {
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_KEY + 1));
    let stdin = io::stdin();
    if stdin.is_terminal() {
        output::prompt("key: ");
        let hidden = typing::hide();
        let read = stdin.lock().take(LONGEST_KEY as u64).read_until(b'\n', &mut text);
        drop(hidden);
        output::prompt("\n");
        read.map_err(|error| unreadable(&error))?;
    } else {
        stdin.lock().take(LONGEST_KEY as u64).read_to_end(&mut text).map_err(|error| unreadable(&error))?;
    }
    one_key(&text)
}

/// Returns the key in this input: one line, with white space around it ignored.
fn one_key(input: &[u8]) -> Result<ApiKey, Failure> {
    let usage = |why: &str| Err(Failure::Usage(format!("{why}: give the text of one key on the standard input")));
    let Ok(text) = std::str::from_utf8(input) else {
        return usage("the input is not text");
    };
    // Some programs begin a text with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if text.is_empty() {
        return usage("the input is empty");
    }
    if text.lines().filter(|line| !line.trim().is_empty()).count() > 1 {
        return usage("the input has more than one line");
    }
    ApiKey::new(text).or_else(|_| usage("the input cannot be a key, which has at most 4096 visible characters"))
}

/// Reads a file, or the standard input for `-`. The copy in memory is wiped: it may have keys.
pub(crate) fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    } else {
        let opened = std::fs::File::open(path).and_then(|mut file| {
            // Memory for the whole file: a growing buffer would leave copies behind.
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            bytes.reserve_exact(usize::try_from(size).unwrap_or_default());
            file.read_to_end(&mut bytes)
        });
        opened.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    }
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read the standard input: {error}"))
}

/// Asks before something that cannot be undone. `yes` answers it; without a terminal, nothing else
/// does.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Usage(format!("{question} Without a terminal, add --yes")));
    }
    output::prompt(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().take(100).read_line(&mut answer).map_err(|error| unreadable(&error))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Usage("not confirmed: nothing was changed".to_owned())),
    }
}

/// Shows what is typed again, if a signal ends the command while a key is typed.
pub(crate) fn show_typing() {
    typing::show();
}

#[cfg(unix)]
mod typing {
    use std::{
        io,
        sync::{Mutex, PoisonError},
    };

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    /// Shows what is typed again when it is dropped.
    pub(super) struct Hidden;

    pub(super) fn hide() -> Hidden {
        if let Ok(before) = tcgetattr(io::stdin()) {
            let mut hidden = before.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &hidden);
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        }
        Hidden
    }

    pub(super) fn show() {
        if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            show();
        }
    }
}

#[cfg(not(unix))]
mod typing {
    pub(super) struct Hidden;

    pub(super) fn hide() -> Hidden {
        Hidden
    }

    pub(super) fn show() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_one_key_in_one_line() {
        for (input, key) in [("k1\n", "k1"), ("  k1\r\n\n", "k1"), ("k1", "k1"), ("\u{feff}k1\n", "k1")] {
            assert_eq!(one_key(input.as_bytes()).unwrap().expose(), key);
        }
        for input in [&b""[..], b" \n", b"k1\nk2\n", b"k1\0k2", b"\xff\xfe"] {
            assert!(matches!(one_key(input), Err(Failure::Usage(_))), "{input:?}");
        }
    }
}
