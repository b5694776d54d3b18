//! M5: keys can be revoked on a full disk.

use std::{fs, path::PathBuf};

use tower_api_key::{
    KeyRegistry, Permissions, Status,
    store::{KeyFilter, SqliteFault, UsageDelta},
};

use super::File;
use crate::support::t0;

/// A file system of this size, mounted until it is dropped.
struct SmallDisk(File);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let file = File::new();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(file.other("keys"));
        assert!(mount.status().unwrap().success(), "cannot mount a small file system: run this as root");
        Self(file)
    }

    /// Fills the free space.
    fn fill(&self) -> PathBuf {
        let path = self.0.other("keys/filler");
        let mut filler = fs::File::create(&path).unwrap();
        while std::io::Write::write_all(&mut filler, &[7; 512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.other("keys")).status();
    }
}

#[tokio::test]
#[ignore = "needs root, to mount a small file system"]
async fn m05_a_full_disk_keeps_nobody_from_revoking_and_disabling() {
    use crate::support::registry::admin;
    use tower_api_key::{
        KeyFormat, KeyManager,
        manage::{ManageError, NewKey, UpdateKey},
    };

    for (size, filled) in [("4m", false), ("8m", true)] {
        let disk = SmallDisk::new(size);
        let store = disk.0.open().await;
        let manager = KeyManager::builder(store.clone())
            .format(KeyFormat::new("acme").unwrap())
            .service_accounts_per_organization(u32::MAX)
            .build()
            .unwrap();
        let mut issued = Vec::new();
        let refused = loop {
            match manager.issue(&admin(), NewKey::service_account("one of many").grant("links", "read")).await {
                Ok(key) => issued.push(key.record().clone()),
                Err(error) => break error,
            }
        };
        let ManageError::Store(cause) = refused else { panic!("{refused}") };
        assert!(matches!(SqliteFault::in_chain(&*cause), Some(SqliteFault::DiskFull(_))), "{cause}");
        assert!(issued.len() > 200, "{size}: {} keys", issued.len());
        // Another process fills the free space, including the space that a change leaves.
        let filler = filled.then(|| disk.fill());

        let ids: Vec<_> = issued.iter().step_by(issued.len() / 120).map(|record| record.id().clone()).collect();
        for (number, id) in ids.iter().enumerate() {
            match number % 4 {
                0 => drop(manager.revoke(&admin(), id.clone()).await.unwrap()),
                1 => drop(manager.disable(&admin(), id.clone()).await.unwrap()),
                2 => {
                    drop(
                        manager
                            .edit(&admin(), id.clone(), UpdateKey::new().permissions(Permissions::new()))
                            .await
                            .unwrap(),
                    );
                }
                _ => drop(manager.remove(&admin(), id.clone()).await.unwrap()),
            }
            let another = manager.issue(&admin(), NewKey::service_account("one more")).await;
            assert!(matches!(another, Err(ManageError::Store(_))), "{size}: keys must not use the reserved space");
        }
        assert_eq!(store.get(&ids[0]).await.unwrap().unwrap().status(), Status::Revoked);
        assert_eq!(store.get(&ids[1]).await.unwrap().unwrap().status(), Status::Disabled);
        assert!(store.get(&ids[3]).await.unwrap().is_none());
        assert_eq!(store.list(&KeyFilter::organization("acme")).await.unwrap().len(), 100);
        let uses = [UsageDelta::accepted(ids[1].clone(), 1, t0())];
        store.record_usage(&uses).await.unwrap();

        if let Some(filler) = filler {
            fs::remove_file(filler).unwrap();
        } else {
            let remount = format!("remount,size={}m", 2 * size.trim_end_matches('m').parse::<u32>().unwrap());
            let mut mount = std::process::Command::new("mount");
            assert!(mount.args(["-o", &remount]).arg(disk.0.other("keys")).status().unwrap().success());
        }
        // Without the filler, there is space for the reserve, but little more.
        if !filled {
            manager.issue(&admin(), NewKey::service_account("again")).await.unwrap();
            assert!(disk.0.beside("-reserve").exists());
        }
    }
}

/// Each change writes an event. So only changes that take access away use the reserved space, and
/// none that can be repeated without end.
#[tokio::test]
#[ignore = "needs root, to mount a small file system"]
async fn m05_no_repeated_edit_uses_up_the_space_for_revocations() {
    use std::time::Duration;

    use crate::support::registry::admin;
    use tower_api_key::{
        KeyFormat, KeyManager,
        manage::{NewKey, UpdateKey},
    };

    let disk = SmallDisk::new("8m");
    let store = disk.0.open().await;
    let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).clock(t0).build().unwrap();
    let mut issued = Vec::new();
    for _ in 0..40 {
        issued.push(manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().clone());
    }
    let victims = issued.split_off(10);
    disk.fill();
    let mut done = 0;
    for round in 0..800_u32 {
        let id = issued[round as usize % 10].clone();
        let later = Duration::from_secs(1_000_000 - u64::from(round));
        for edit in [
            UpdateKey::new().enabled(round % 2 == 0),
            UpdateKey::new().enabled(round % 2 == 1),
            UpdateKey::new().name(format!("{}", round % 2)),
            UpdateKey::new().expires_at(t0() + later),
            UpdateKey::new().metadata("note", "x".repeat(1_000)).metadata(format!("{}", round % 40), "x".repeat(1_000)),
        ] {
            done += usize::from(manager.edit(&admin(), id.clone(), edit).await.is_ok());
        }
    }
    for id in victims {
        manager.revoke(&admin(), id).await.unwrap_or_else(|error| panic!("after {done} edits: {error:?}"));
    }
}
