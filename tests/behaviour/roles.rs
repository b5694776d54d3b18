//! Tests roles: named sets of permissions, which keys hold by name.

mod bound;
mod managed;
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
    KeyRecord, Permissions,
    roles::{LiveRoles, RolePermissions},
};

use crate::{
    rights::Mode,
    support::{Api, LIVE},
};

/// The roles of organizations, as an application keeps them.
#[derive(Clone, Default)]
struct RoleTable(Arc<State>);

#[derive(Default)]
struct State {
    roles: Mutex<HashMap<(String, Option<String>), Permissions>>,
    mode: Mutex<Mode>,
    /// The number of questions.
    asked: AtomicUsize,
}

impl RoleTable {
    /// A table with a role of the organization `acme`.
    fn with(role: &str, permissions: Permissions) -> Self {
        let table = Self::default();
        table.set(role, Some("acme"), permissions);
        table
    }

    fn set(&self, role: &str, organization: Option<&str>, permissions: Permissions) {
        self.0.roles.lock().unwrap().insert((role.to_owned(), organization.map(str::to_owned)), permissions);
    }

    fn remove(&self, role: &str) {
        self.0.roles.lock().unwrap().retain(|(name, _), _| name != role);
    }

    fn answer(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    fn asked(&self) -> usize {
        self.0.asked.swap(0, Ordering::Relaxed)
    }
}

impl RolePermissions for RoleTable {
    type Error = std::io::Error;

    fn permissions(
        &self,
        role: &str,
        organization: Option<&str>,
    ) -> impl Future<Output = Result<Option<Permissions>, std::io::Error>> + Send {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let role = (role.to_owned(), organization.map(str::to_owned));
        let permissions = self.0.roles.lock().unwrap().get(&role).cloned();
        let answering = self.0.mode.lock().unwrap().answering();
        async move {
            answering.await?;
            Ok(permissions)
        }
    }
}

fn links(actions: &[&'static str]) -> Permissions {
    actions.iter().map(|action| ("links", *action)).collect()
}

/// An API with the key [`LIVE`] of `acme`, which may read links, with these roles.
fn holder(roles: &[&'static str], source: LiveRoles) -> Api {
    let roles = roles.to_vec();
    let record =
        move |record: KeyRecord| record.with_organization("acme").with_permissions(links(&["read"])).with_roles(roles);
    Api::new().key("live", LIVE, record).layer(|layer| layer.roles(source))
}
