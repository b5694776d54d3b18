//! M1: changes in flight have no effect after the end of the actor's key.

use std::env;

use tokio::task::yield_now;
use tower_api_key::{
    KeyId, KeyManager, KeyRegistry, Owner, Permissions,
    manage::{Actor, ManageError, NewKey, Rotation, UpdateKey},
    store::RegistryError,
};

use super::{HOUR, everything_in, manager, memory, since, thief, trusted};

/// The number of concurrent races over one store.
const LANES: usize = 4;
const CALLERS: usize = 3;

/// The integration step sets `RACES` to 500.
fn races() -> usize {
    env::var("RACES").ok().map_or(200, |races| races.parse().unwrap())
}

/// The repeated operation of an attacker.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Issue,
    Import,
    Edit,
    Regenerate,
    Rotate,
    Revoke,
    Remove,
    RemoveMember,
}

const DEEDS: [Deed; 8] = [
    Deed::Issue,
    Deed::Regenerate,
    Deed::Edit,
    Deed::Rotate,
    Deed::Revoke,
    Deed::Remove,
    Deed::Import,
    Deed::RemoveMember,
];

/// The ways in which a key ends or loses permissions.
#[derive(Clone, Copy, Debug)]
enum End {
    Revoke,
    Disable,
    Remove,
    RemoveMember,
    Regenerate,
    Strip,
}

const ENDS: [End; 6] = [End::Revoke, End::Disable, End::Remove, End::RemoveMember, End::Regenerate, End::Strip];

impl Deed {
    async fn once(self, manager: &KeyManager, actor: &Actor, victim: &mut KeyId, step: u8) -> Result<(), ManageError> {
        let digest =
            || <[u8; 32]>::try_from(&victim.as_str().repeat(2).into_bytes()[..32]).unwrap().map(|byte| byte ^ step);
        match self {
            Self::Issue => manager.issue(actor, NewKey::user("spare").grant("links", "read")).await.map(drop),
            Self::Import => manager.import_digest(actor, digest(), NewKey::service_account("spare")).await.map(drop),
            Self::Edit => {
                manager.edit(actor, victim.clone(), UpdateKey::new().name(format!("name {step}"))).await.map(drop)
            }
            Self::Regenerate => {
                let new = manager.regenerate(actor, victim.clone()).await?;
                *victim = new.record().id().clone();
                Ok(())
            }
            Self::Rotate => {
                let new = manager.rotate(actor, victim.clone(), Rotation::grace_period(HOUR)).await?;
                *victim = new.record().id().clone();
                Ok(())
            }
            Self::Revoke => manager.revoke(actor, self.fresh(manager, actor).await?).await.map(drop),
            Self::Remove => manager.remove(actor, self.fresh(manager, actor).await?).await.map(drop),
            Self::RemoveMember => manager.remove_user_keys(actor, "bob").await.map(drop),
        }
    }

    /// Another key to end.
    async fn fresh(self, manager: &KeyManager, actor: &Actor) -> Result<KeyId, ManageError> {
        let issued = manager.issue(actor, NewKey::service_account("short-lived")).await?;
        Ok(issued.record().id().clone())
    }
}

impl End {
    async fn of(self, manager: &KeyManager, admin: &Actor, id: &KeyId) -> Result<(), ManageError> {
        match self {
            Self::Revoke => manager.revoke(admin, id.clone()).await.map(drop),
            Self::Disable => manager.disable(admin, id.clone()).await.map(drop),
            Self::Remove => manager.remove(admin, id.clone()).await.map(drop),
            Self::RemoveMember => manager.remove_user_keys(admin, "thief").await.map(drop),
            Self::Regenerate => {
                // Only the user may replace a user's key.
                let user = trusted(Owner::User("thief".into()), admin.organization().unwrap());
                manager.regenerate(&user, id.clone()).await.map(drop)
            }
            Self::Strip => {
                manager.edit(admin, id.clone(), UpdateKey::new().permissions(Permissions::new())).await.map(drop)
            }
        }
    }
}

/// The number of changes before the key ended, and after its end was confirmed.
async fn race(manager: &KeyManager, store: &impl KeyRegistry, round: usize) -> (usize, Vec<String>) {
    let organization = format!("acme{round}");
    let admin = trusted(Owner::ServiceAccount, &organization);
    let (stolen, actor) = thief(manager, &organization).await;
    let end = ENDS[round % ENDS.len()];
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let deed = DEEDS[(round / ENDS.len() + number) % DEEDS.len()];
        let new = NewKey::service_account("victim").grant("links", "read");
        let mut victim = manager.issue(&admin, new).await.unwrap().record().id().clone();
        let (manager, actor) = (manager.clone(), actor.clone());
        callers.push(tokio::spawn(async move {
            for step in 0..8 {
                match deed.once(&manager, &actor, &mut victim, step).await {
                    Ok(()) => {}
                    Err(ManageError::ActorInvalid | ManageError::PermissionDenied(_)) => return usize::from(step),
                    // The end of the key removed it.
                    Err(ManageError::NotFound(_) | ManageError::Registry(RegistryError::NotFound(_))) => return 0,
                    Err(error) => panic!("{deed:?} at {end:?}: {error} {error:?}"),
                }
            }
            8
        }));
    }
    for _ in 0..(round * 7) % 40 {
        yield_now().await;
    }
    end.of(manager, &admin, stolen.record().id()).await.unwrap();
    let then = everything_in(store, &organization).await;
    let mut made = 0;
    for caller in callers {
        made += caller.await.unwrap();
    }
    let late = since(&then, everything_in(store, &organization).await);
    (made, late.into_iter().map(|late| format!("{end:?}: {late:?}")).collect())
}

/// The number of races over one store: a list reads all records that earlier races have left in
/// memory.
const PER_STORE: usize = 100;

async fn run<R: KeyRegistry + Clone>(what: &str, open: impl AsyncFn() -> R) {
    let (races, mut made, mut late) = (races(), 0, Vec::new());
    for first in (0..races).step_by(PER_STORE) {
        let (before, after) = run_some(open().await, first, races.min(first + PER_STORE)).await;
        made += before;
        late.extend(after);
    }
    println!("{what}: {races} races, {made} changes before the key's end, {} after", late.len());
    assert!(made > races, "too few changes: {made} in {races} races");
    assert!(late.is_empty(), "{} changes were made after the key's end was answered: {late:?}", late.len());
}

async fn run_some<R: KeyRegistry + Clone>(store: R, first: usize, end: usize) -> (usize, Vec<String>) {
    let manager = manager(store.clone());
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| {
            let (manager, store) = (manager.clone(), store.clone());
            tokio::spawn(async move {
                let (mut made, mut late) = (0, Vec::new());
                for round in (first + lane..end).step_by(LANES) {
                    let (before, after) = race(&manager, &store, round).await;
                    made += before;
                    late.extend(after);
                }
                (made, late)
            })
        })
        .collect();
    let (mut made, mut late) = (0, Vec::new());
    for lane in lanes {
        let (before, after) = lane.await.unwrap();
        made += before;
        late.extend(after);
    }
    (made, late)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn m01_who_keeps_changes_in_flight_changes_nothing_after_his_keys_end_in_memory() {
    run("memory", async || memory()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn m01_who_keeps_changes_in_flight_changes_nothing_after_his_keys_end_in_sqlite() {
    let (_folder, store) = super::sqlite().await;
    run("SQLite", async || store.clone()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs postgres"]
async fn m01_who_keeps_changes_in_flight_changes_nothing_after_his_keys_end_in_postgres() {
    let server = crate::postgres_server::Server::start(&["deadlock_timeout=10ms"]);
    let store = server.database().await.store().await;
    run("PostgreSQL", async || store.clone()).await;
}
