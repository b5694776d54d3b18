//! What the sources say about a record: its permissions and those of its roles, as far as its owner
//! has them.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Live, Started, Subject};
use crate::{
    clock::{after, monotonic},
    permission::Permissions,
    record::{KeyRecord, Owner},
    rights::{LiveRights, Rights},
    roles::LiveRoles,
    store::{BoxError, Fault},
};

/// The sources that records depend on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) rights: Option<LiveRights>,
    pub(crate) roles: Option<LiveRoles>,
}

/// What the sources say about one record.
#[derive(Default)]
pub(super) struct Resolution {
    rights: Option<Arc<Rights>>,
    /// `None` for a role that does not exist.
    roles: Vec<Arc<Option<Permissions>>>,
}

/// A source and what it is asked.
type Question<'s, N, A> = (&'s Live<N, A>, Subject<N>);

// === impl Sources ===

impl Sources {
    pub(crate) fn is_empty(&self) -> bool {
        self.rights.is_none() && self.roles.is_none()
    }

    /// Returns whether a source is asked about this record.
    pub(super) fn apply_to(&self, record: &KeyRecord) -> bool {
        (self.rights.is_some() && record.owner().is_some()) || (self.roles.is_some() && !record.role_names().is_empty())
    }

    /// Returns whether a source of this record is asked for each request.
    pub(super) fn are_asked_each_time(&self, record: &KeyRecord) -> bool {
        let rights = self.rights.as_ref().filter(|_| record.owner().is_some());
        let roles = self.roles.as_ref().filter(|_| !record.role_names().is_empty());
        rights.is_some_and(|rights| rights.0.lease().is_zero()) || roles.is_some_and(|roles| roles.0.lease().is_zero())
    }

    /// Changes when answers are forgotten.
    pub(super) fn epoch(&self) -> u64 {
        let rights = self.rights.as_ref().map_or(0, |rights| rights.0.epoch());
        rights.wrapping_add(self.roles.as_ref().map_or(0, |roles| roles.0.epoch()))
    }

    /// Returns what is known of a record without waiting, and until when a thread may use it. Asks
    /// in the background about the rest.
    pub(super) fn try_resolve(&self, record: &KeyRecord, now: Instant) -> Option<(Resolution, Instant)> {
        let rights = self.about_owner(record).map(|(live, subject)| live.find_or_ask(&subject, now));
        let roles = self.about_roles(record).into_iter().map(|(live, subject)| live.find_or_ask(&subject, now));
        // All of them are asked, also if the first one has no answer.
        let roles: Vec<_> = roles.collect();
        let mut resolution = Resolution::default();
        let mut until = None;
        let mut note = |end: Instant| until = Some(until.map_or(end, |other: Instant| other.min(end)));
        if let Some(rights) = rights {
            let (rights, end) = rights?;
            resolution.rights = Some(rights);
            note(end);
        }
        for role in roles {
            let (role, end) = role?;
            resolution.roles.push(role);
            note(end);
        }
        Some((resolution, until?))
    }

    /// Asks about a record, and waits for the answers.
    pub(super) async fn resolve(&self, record: &KeyRecord, deadline: Instant) -> Result<Resolution, Fault> {
        // All questions are sent before the first answer is waited for.
        let rights = self.about_owner(record).map(started);
        let roles: Vec<_> = self.about_roles(record).into_iter().map(started).collect();
        let mut resolution = Resolution::default();
        if let Some(((live, subject), started)) = rights {
            resolution.rights = Some(live.finish(&subject, started, deadline).await.map_err(Fault::OwnerRights)?);
        }
        for ((live, subject), started) in roles {
            resolution.roles.push(live.finish(&subject, started, deadline).await.map_err(Fault::Roles)?);
        }
        Ok(resolution)
    }

    /// Returns what a key may do now, or `None` if its owner is blocked.
    ///
    /// # Errors
    ///
    /// A source failed or did not answer in time, and there is no recent answer.
    pub(crate) async fn permissions_of(
        &self,
        record: &KeyRecord,
        timeout: Duration,
    ) -> Result<Option<Permissions>, BoxError> {
        let resolution = self.resolve(record, after(monotonic(), timeout)).await.map_err(Fault::into_error)?;
        Ok(resolution.permissions(record))
    }

    /// Returns what each role of a key grants, whatever its owner may do, or the name of a role
    /// that does not exist.
    ///
    /// # Errors
    ///
    /// The source failed or did not answer in time, and there is no recent answer.
    pub(crate) async fn roles_of(
        &self,
        record: &KeyRecord,
        timeout: Duration,
    ) -> Result<Result<Vec<Permissions>, String>, BoxError> {
        let without_owner = Self { rights: None, roles: self.roles.clone() };
        let resolution = without_owner.resolve(record, after(monotonic(), timeout)).await.map_err(Fault::into_error)?;
        let granted = |index: usize| resolution.roles.get(index).and_then(|role| Option::clone(role));
        let roles = record.roles().enumerate().map(|(index, role)| granted(index).ok_or_else(|| role.to_owned()));
        Ok(roles.collect())
    }

    fn about_owner(&self, record: &KeyRecord) -> Option<Question<'_, Owner, Rights>> {
        let name = record.owner()?.clone();
        Some((&self.rights.as_ref()?.0, Subject { name, organization: record.organization().map(Into::into) }))
    }

    fn about_roles(&self, record: &KeyRecord) -> Vec<Question<'_, Box<str>, Option<Permissions>>> {
        let Some(LiveRoles(live)) = &self.roles else { return Vec::new() };
        let organization: Option<Box<str>> = record.organization().map(Into::into);
        let names = record.role_names().iter().cloned();
        names.map(|name| (live, Subject { name, organization: organization.clone() })).collect()
    }
}

fn started<N: super::Name, A: Send + Sync + 'static>(
    (live, subject): Question<'_, N, A>,
) -> (Question<'_, N, A>, Started<A>) {
    let started = live.start(&subject);
    ((live, subject), started)
}

// === impl Resolution ===

impl Resolution {
    /// Returns the record as the sources change it, or `None` if it stays as it is.
    pub(super) fn applied_to(&self, record: &KeyRecord) -> Option<KeyRecord> {
        match self.permissions(record) {
            None => Some(record.clone().blocked_by_owner()),
            Some(permissions) if permissions == *record.permissions() => None,
            Some(permissions) => Some(record.clone().with_permissions(permissions)),
        }
    }

    /// Returns what the key may do, or `None` if its owner is blocked.
    fn permissions(&self, record: &KeyRecord) -> Option<Permissions> {
        match self.rights.as_deref() {
            Some(Rights::Blocked) => None,
            Some(Rights::Only(most)) => Some(self.granted(record).intersection(most)),
            Some(Rights::All) | None => Some(self.granted(record)),
        }
    }

    /// Returns what the key and its roles grant.
    fn granted(&self, record: &KeyRecord) -> Permissions {
        let roles = self.roles.iter().filter_map(|role| role.as_ref().as_ref());
        roles.fold(record.permissions().clone(), |all, role| all.union(role))
    }
}
