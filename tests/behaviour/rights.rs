//! Tests the owners' rights: a key may do what it *and* its owner may do now.

pub(crate) mod bound;
mod managed;
mod narrowing;
mod requests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_api_key::{
    KeyRecord, Owner, Permissions,
    rights::{LiveRights, OwnerRights, Rights},
};

use crate::support::{Api, LIVE};

/// The members of organizations, as an application keeps them.
#[derive(Clone, Default)]
struct Members(Arc<State>);

#[derive(Default)]
struct State {
    rights: Mutex<HashMap<(Owner, Option<String>), Rights>>,
    mode: Mutex<Mode>,
    /// The number of questions.
    asked: AtomicUsize,
}

/// How the source answers. It reads the rights when it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Mode {
    #[default]
    AtOnce,
    After(Duration),
    Fails,
    Hangs,
    Panics,
    PanicsAtOnce,
}

impl Members {
    fn set(&self, owner: &Owner, organization: Option<&str>, rights: Rights) {
        self.0.rights.lock().unwrap().insert((owner.clone(), organization.map(str::to_owned)), rights);
    }

    fn set_alice(&self, rights: Rights) {
        self.set(&alice(), Some("acme"), rights);
    }

    fn answer(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    fn asked(&self) -> usize {
        self.0.asked.swap(0, Ordering::Relaxed)
    }
}

impl OwnerRights for Members {
    type Error = std::io::Error;

    fn rights(
        &self,
        owner: &Owner,
        organization: Option<&str>,
    ) -> impl Future<Output = Result<Rights, std::io::Error>> + Send {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let subject = (owner.clone(), organization.map(str::to_owned));
        let rights = self.0.rights.lock().unwrap().get(&subject).cloned().unwrap_or(Rights::All);
        let mode = *self.0.mode.lock().unwrap();
        let answering = mode.answering();
        async move {
            answering.await?;
            Ok(rights)
        }
    }
}

impl Mode {
    /// Waits, fails or panics as this mode says.
    pub(crate) fn answering(self) -> impl Future<Output = Result<(), std::io::Error>> + Send {
        assert!(self != Self::PanicsAtOnce, "the source panics at once, intentionally");
        async move {
            match self {
                Self::AtOnce | Self::PanicsAtOnce => {}
                Self::After(time) => tokio::time::sleep(time).await,
                Self::Fails => return Err(std::io::Error::other("the database is gone")),
                Self::Hangs => std::future::pending().await,
                Self::Panics => panic!("the source panics intentionally"),
            }
            Ok(())
        }
    }
}

fn alice() -> Owner {
    Owner::User("alice".into())
}

fn links(actions: &[&'static str]) -> Permissions {
    actions.iter().map(|action| ("links", *action)).collect()
}

/// An API with the key [`LIVE`] of Alice in `acme`, which may read and delete links.
fn alices(rights: LiveRights) -> Api {
    let record = |record: KeyRecord| {
        record.with_owner(alice()).with_organization("acme").with_permissions(links(&["read", "delete"]))
    };
    Api::new().key("live", LIVE, record).layer(|layer| layer.owner_rights(rights))
}
