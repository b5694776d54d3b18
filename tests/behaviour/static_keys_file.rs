//! Tests a file of static keys: it is read again when it changes, and a bad file keeps the last
//! good keys.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    runtime::{Handle, Runtime},
    time::sleep,
};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyStore, Lookup, Reason,
    store::{KeyEntryError, KeyFileError, KeyListError, StaticKeysFile},
};

#[cfg(feature = "tracing")]
use crate::support::logs;
use crate::support::{Api, LIVE, UNKNOWN, accepted, bearer, refused};

/// A little longer than the interval between two checks.
const NEXT_CHECK: Duration = Duration::from_millis(2100);

fn json(keys: &[(&str, &str)]) -> String {
    let entries: Vec<_> = keys.iter().map(|(id, key)| format!(r#""{id}": {{"key": "{key}"}}"#)).collect();
    format!(r#"{{"keys": {{{}}}}}"#, entries.join(", "))
}

/// Returns a file with the key [`LIVE`].
fn live_file(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, json(&[("live", LIVE)])).unwrap();
    (folder, path)
}

fn has(keys: &StaticKeysFile, text: &str) -> bool {
    matches!(keys.try_find(&KeyHasher::sha256().digest(&ApiKey::new(text).unwrap())), Lookup::Found(_))
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_in_use_from_the_next_request_after_a_check() {
    let (_folder, path) = live_file("keys.json");
    let keys = StaticKeysFile::open(&path).unwrap();
    let api = Api::over(keys.clone()).run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(api.call(bearer(UNKNOWN)).await, refused(Reason::Unknown, 401));

    // In place, with equal lengths and times.
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let before = fs::read_to_string(&path).unwrap();
    let after = json(&[("gone", UNKNOWN)]);
    assert_eq!(before.len(), after.len());
    fs::write(&path, after).unwrap();
    fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    sleep(NEXT_CHECK).await;
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Unknown, 401));
    assert_eq!(api.call(bearer(UNKNOWN)).await, accepted());

    // By a rename.
    fs::write(path.with_extension("new"), json(&[("live", LIVE), ("gone", UNKNOWN)])).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    sleep(NEXT_CHECK).await;
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(api.call(bearer(UNKNOWN)).await, accepted());
    let digest = KeyHasher::sha256().digest(&ApiKey::new(LIVE).unwrap());
    assert_eq!(keys.find(&digest).await.unwrap().unwrap().id().as_str(), "live");

    // The last key is removed.
    fs::write(&path, r#"{"keys": []}"#).unwrap();
    sleep(NEXT_CHECK).await;
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Unknown, 401));
    assert_eq!(keys.last_error(), None);
}

/// The kubelet writes a new folder, and renames a new symbolic link over `..data`.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn an_updated_secret_of_kubernetes_is_seen() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path();
    let publish = |name: &str, text: String| {
        fs::create_dir(mount.join(name)).unwrap();
        fs::write(mount.join(name).join("keys.json"), text).unwrap();
        symlink(name, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    publish("..2026_01", json(&[("live", LIVE)]));
    symlink("..data/keys.json", mount.join("keys.json")).unwrap();
    let keys = StaticKeysFile::open(mount.join("keys.json")).unwrap();
    assert!(has(&keys, LIVE) && !has(&keys, UNKNOWN));

    publish("..2026_02", json(&[("gone", UNKNOWN)]));
    fs::remove_dir_all(mount.join("..2026_01")).unwrap();
    sleep(NEXT_CHECK).await;
    assert!(!has(&keys, LIVE) && has(&keys, UNKNOWN));
    assert_eq!(keys.last_error(), None);
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_keeps_the_last_good_keys_until_it_is_good() {
    let (_folder, path) = live_file("keys.json");
    let keys = StaticKeysFile::open(&path).unwrap();
    let weak = KeyListError::Entry(r#"key "b""#.into(), KeyEntryError::TooShort);
    for (text, expected) in [
        (String::new(), KeyListError::Empty),
        ("{".into(), KeyListError::Json { line: 1, column: 1 }),
        (json(&[("live", UNKNOWN), ("b", "changeme")]), weak),
        (json(&[("a", LIVE)]).replace("key\"", "kay\""), {
            KeyListError::Entry(r#"key "a""#.into(), KeyEntryError::UnknownMember("kay".into()))
        }),
    ] {
        fs::write(&path, text).unwrap();
        sleep(NEXT_CHECK).await;
        assert_eq!(keys.last_error(), Some(KeyFileError::List(path.clone(), expected)));
        assert!(has(&keys, LIVE) && !has(&keys, UNKNOWN));
    }
    fs::remove_file(&path).unwrap();
    sleep(NEXT_CHECK).await;
    assert_eq!(keys.last_error(), Some(KeyFileError::Unreadable(path.clone(), std::io::ErrorKind::NotFound)));
    assert!(has(&keys, LIVE));

    fs::write(&path, json(&[("gone", UNKNOWN)])).unwrap();
    sleep(NEXT_CHECK).await;
    assert_eq!(keys.last_error(), None);
    assert!(!has(&keys, LIVE) && has(&keys, UNKNOWN));

    // The same text as the last good one is good again.
    fs::remove_file(&path).unwrap();
    assert!(keys.reload().is_err());
    fs::write(&path, json(&[("gone", UNKNOWN)])).unwrap();
    assert_eq!((keys.reload(), keys.last_error()), (Ok(()), None));
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn each_bad_change_is_an_error_in_the_log_once_and_without_keys() {
    logs::watch_for([LIVE, UNKNOWN].map(str::to_owned));
    let (_folder, path) = live_file("keys.json");
    let keys = StaticKeysFile::open(&path).unwrap();
    logs::take();
    let errors = || logs::take().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect::<Vec<_>>();
    for bad in [format!("[{LIVE}"), format!("{{{UNKNOWN}"), json(&[("a", "changeme")])] {
        fs::write(&path, bad).unwrap();
        let error = keys.reload().unwrap_err();
        let lines = errors();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("tower_api_key: the changed file of API keys is not used"), "{lines:?}");
        assert!(lines[0].contains("keys.json") && lines[0].contains("the last good keys stay in use"), "{lines:?}");
        // Each check has the error, and only the first one reports it.
        for _ in 0..3 {
            assert_eq!(keys.reload(), Err(error.clone()));
        }
        assert_eq!(errors(), Vec::<String>::new());
    }
    fs::write(&path, json(&[("live", LIVE), ("gone", UNKNOWN)])).unwrap();
    assert_eq!(keys.reload(), Ok(()));
    let log = logs::take();
    assert!(log.contains("INFO") && log.contains("was read again") && log.contains("keys=2"), "{log}");
    logs::assert_clean();
    assert!(!format!("{keys:?}").contains(LIVE));
}

#[cfg(not(feature = "tracing"))]
#[tokio::test]
#[ignore = "writes on standard error, which the test below reads"]
async fn a_bad_change_in_this_process() {
    let (_folder, path) = live_file("keys.json");
    let keys = StaticKeysFile::open(&path).unwrap();
    fs::write(&path, format!("{{{LIVE}")).unwrap();
    assert_eq!(keys.reload(), keys.reload());
}

#[cfg(not(feature = "tracing"))]
#[test]
fn without_tracing_a_bad_change_is_one_line_on_standard_error() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "static_keys_file::a_bad_change_in_this_process", "--ignored", "--nocapture"]);
    let said = String::from_utf8(child.output().unwrap().stderr).unwrap();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("tower-api-key: ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("the last good keys stay in use") && lines[0].contains("keys.json"), "{said}");
    assert!(lines[0].contains("line 1, column 2 is not JSON") && !said.contains(LIVE), "{said}");
}

#[tokio::test]
async fn a_bad_file_is_an_error_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let open = |path: &Path| StaticKeysFile::open(path).unwrap_err();
    let missing = KeyFileError::Unreadable(at("none.json"), std::io::ErrorKind::NotFound);
    assert_eq!(open(&at("none.json")), missing);
    assert_eq!(open(folder.path()), KeyFileError::NotAFile(folder.path().into()));
    let bad = |name: &str, bytes: &[u8]| {
        fs::write(at(name), bytes).unwrap();
        open(&at(name))
    };
    assert_eq!(bad("a.json", b""), KeyFileError::List(at("a.json"), KeyListError::Empty));
    assert_eq!(bad("a.json", b"\xff\xfe"), KeyFileError::NotUtf8(at("a.json")));
    let long = format!("{}{}", json(&[("live", LIVE)]), " ".repeat(1 << 20));
    assert_eq!(bad("a.json", long.as_bytes()), KeyFileError::TooLong(at("a.json")));
    assert!(
        StaticKeysFile::open({
            fs::write(at("a.json"), &long[..1 << 20]).unwrap();
            at("a.json")
        })
        .is_ok()
    );
}

/// The extension decides, and for another one the text.
#[tokio::test]
async fn a_file_is_json_or_toml() {
    let folder = tempfile::tempdir().unwrap();
    let (json, toml) = (json(&[("live", LIVE)]), format!("[keys.live]\nkey = '{LIVE}'"));
    for (name, text, is_good) in [
        ("a.json", &json, true),
        ("a.toml", &toml, true),
        ("a.TOML", &toml, true),
        ("a", &json, true),
        ("a.conf", &toml, true),
        ("b.json", &toml, false),
        ("b.toml", &json, false),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        assert_eq!(StaticKeysFile::open(&path).is_ok_and(|keys| has(&keys, LIVE)), is_good, "{name}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_others_may_write_is_rejected() {
    use std::os::unix::fs::PermissionsExt;

    let (_folder, path) = live_file("keys.json");
    let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o664, 0o646, 0o620, 0o602, 0o777] {
        set_mode(mode);
        assert_eq!(StaticKeysFile::open(&path).unwrap_err(), KeyFileError::Writable(path.clone(), mode));
    }
    let error = StaticKeysFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("(mode 777)") && error.contains("chmod go-w"), "{error}");
    // A mounted Secret of Kubernetes has mode 644.
    for mode in [0o600, 0o640, 0o644, 0o755] {
        set_mode(mode);
        assert!(StaticKeysFile::open(&path).is_ok());
    }

    let keys = StaticKeysFile::open(&path).unwrap();
    fs::write(&path, json(&[("gone", UNKNOWN)])).unwrap();
    set_mode(0o666);
    assert_eq!(keys.reload(), Err(KeyFileError::Writable(path.clone(), 0o666)));
    assert!(has(&keys, LIVE) && !has(&keys, UNKNOWN));
    set_mode(0o600);
    assert_eq!(keys.reload(), Ok(()));
    assert!(!has(&keys, LIVE) && has(&keys, UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_checked_at_the_interval_until_the_last_clone_is_dropped() {
    let (_folder, path) = live_file("keys.json");
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let keys = StaticKeysFile::open(&path).unwrap().check_every(Duration::from_secs(60));
    let layer = ApiKeyLayer::builder(keys.clone()).build().unwrap();
    fs::write(&path, json(&[("gone", UNKNOWN)])).unwrap();
    sleep(Duration::from_secs(59)).await;
    assert!(has(&keys, LIVE));
    sleep(Duration::from_secs(2)).await;
    assert!(has(&keys, UNKNOWN));

    let clone = keys.clone();
    drop(keys);
    drop(layer);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), before + 1);
    fs::write(&path, json(&[("live", LIVE)])).unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(has(&clone, LIVE));
    drop(clone);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks(), before);
}

#[test]
fn a_file_needs_a_runtime_and_outlives_it() {
    let (_folder, path) = live_file("keys.json");
    assert_eq!(StaticKeysFile::open(&path).unwrap_err(), KeyFileError::NoRuntime);
    let runtime = Runtime::new().unwrap();
    let keys = runtime.block_on(async { StaticKeysFile::open(&path).unwrap() });
    drop(runtime);
    let keys = keys.check_every(Duration::ZERO);
    assert!(has(&keys, LIVE));
    fs::write(&path, json(&[("gone", UNKNOWN)])).unwrap();
    assert_eq!(keys.reload(), Ok(()));
    assert!(has(&keys, UNKNOWN));
}
