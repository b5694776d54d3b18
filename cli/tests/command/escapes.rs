//! What another program has stored cannot change the terminal of an operator.

use sqlx::{Connection, SqliteConnection};

use crate::support::World;

#[test]
fn control_characters_are_escaped_and_wide_letters_are_aligned() {
    let world = World::sqlite();
    let (id, _) = world.issue(&["日本語の鍵", "--user", "alice", "--organization", "Zoë"]);
    let (evil, _) = world.issue(&["evil", "--user", "bob"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut session = SqliteConnection::connect(&world.url).await.unwrap();
        let update = "update api_keys set name = ?, user = ? where id = ?";
        let change = sqlx::query(update).bind("a\u{1b}[31m\nb\u{202e}").bind("x\u{7}").bind(&evil);
        change.execute(&mut session).await.unwrap();
        session.close().await.unwrap();
    });
    for args in [&["list"][..], &["show", &evil], &["events"], &["revoke", &evil, "--yes"]] {
        let run = world.run(args);
        assert_eq!(run.code, 0, "{run:?}");
        for printed in [&run.out, &run.err] {
            let is_bad = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
            assert!(!printed.contains(is_bad), "{args:?}: {printed:?}");
        }
    }
    let table = world.ok(&["list", "--include-revoked"]);
    assert!(table.contains(r"a\u{1b}[31m\nb\u{202e}"), "{table}");
    assert_eq!(table.lines().count(), 3, "a row is one line: {table}");
    assert!(world.ok(&["show", &id]).contains("日本語の鍵"));
    // The JSON has the texts as they are, escaped as JSON is.
    assert_eq!(world.json(&["show", &evil])[0]["name"], "a\u{1b}[31m\nb\u{202e}");
}
