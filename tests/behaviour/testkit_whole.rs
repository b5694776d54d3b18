//! Tests the testkit: it rejects registries that lose a part of what they store, or change too
//! much.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    time::SystemTime,
};

use tower_api_key::{
    KeyDigest, KeyId, KeyRecord, KeyRegistry, KeyStore, Lookup, Permissions, Status,
    store::{
        ChangeContext, IdempotencyRecord, KeyFilter, KeyLimit, MemoryStore, RegistryError, Replacement, UsageDelta,
        testkit,
    },
};

/// The mistake of a registry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    /// A record loses this field.
    Loses(Way, Part),
    /// Every page is the first one.
    PageWithoutPlace,
    /// A page begins with the last key of the previous page.
    PageTwice,
    AtMostAHundredListed,
    ExpiredUnlisted,
    /// The organization "" is stored as none.
    EmptyIsNone,
    IdsTrimmed,
    IdsWithoutCase,
    RehashEnables,
    UseEnables,
    DisabledStays,
    ExpiredStays,
    /// Removes only the first hundred keys of a user.
    HundredLeave,
    HeirsRevoked,
    /// A disable overwrites the record with an outdated copy.
    DisableUndoes,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    First,
    List,
    Update,
    ReplacedOne,
    NewOne,
    Rehash,
    Revocation,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Expiry,
    Permissions,
    Wildcards,
    Begin,
    Uses,
    Addresses,
    Roles,
    Name,
    Metadata,
}

struct Wrong {
    keys: MemoryStore,
    mistake: Mistake,
}

/// Returns the record without this field.
fn without(part: Part, record: &KeyRecord) -> KeyRecord {
    let record = record.clone();
    match part {
        Part::Expiry => record.with_expires_at(None),
        Part::Begin => record.with_not_before(None),
        Part::Permissions => record.with_permissions(Permissions::new()),
        Part::Wildcards => {
            let grants = record.permissions().iter();
            let grants =
                grants.flat_map(|(resource, actions)| actions.iter().map(|one| (resource.to_owned(), one.clone())));
            let literal: Permissions = grants.collect();
            record.with_permissions(literal)
        }
        Part::Addresses => record.with_allowed_addresses(None),
        Part::Roles => record.with_roles::<String>([]),
        Part::Uses => record.with_usage(0, None),
        Part::Name => record.with_name(""),
        Part::Metadata => {
            let bare = KeyRecord::new(record.id().clone(), *record.digest()).with_version(record.version());
            let bare = bare.with_status(record.status()).with_permissions(record.permissions().clone());
            let bare = bare.with_not_before(record.not_before()).with_expires_at(record.expires_at());
            let bare = record.owner().into_iter().fold(bare, |bare, owner| bare.with_owner(owner.clone()));
            record.organization().into_iter().fold(bare, KeyRecord::with_organization)
        }
    }
}

impl Wrong {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    /// Restores a record.
    async fn overwrite(&self, record: KeyRecord) {
        let _ = self.keys.remove(record.id(), None).await;
        let _ = self.keys.insert(record, None, None).await;
    }

    /// The stored record loses its field.
    async fn lose(&self, way: Way, stored: &KeyRecord) {
        if let Mistake::Loses(at, part) = self.mistake
            && at == way
        {
            self.overwrite(without(part, stored)).await;
        }
    }
}

impl KeyStore for Wrong {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.find(digest).await
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        self.keys.try_find(digest)
    }
}

impl KeyRegistry for Wrong {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, Infallible> {
        self.keys.insert(record, cap, context).await
    }

    async fn insert_first(
        &self,
        record: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, Infallible> {
        let done = self.keys.insert_first(record.clone(), context).await?;
        if done.is_ok() {
            self.lose(Way::First, &record).await;
        }
        Ok(done)
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        match self.mistake {
            Mistake::IdsTrimmed => self.keys.get(&id.as_str().trim().into()).await,
            Mistake::IdsWithoutCase => self.keys.get(&id.as_str().to_lowercase().into()).await,
            _ => self.keys.get(id).await,
        }
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        let mut filter = filter.clone();
        let after = filter.after.clone();
        match self.mistake {
            Mistake::PageWithoutPlace => filter.after = None,
            Mistake::AtMostAHundredListed => filter.limit = filter.limit.min(100),
            Mistake::EmptyIsNone if filter.organization.is_none() => filter.organization = Some(String::new()),
            _ => {}
        }
        let mut page = self.keys.list(&filter).await?;
        match self.mistake {
            Mistake::ExpiredUnlisted => page.retain(|record| record.expires_at() != Some(SystemTime::UNIX_EPOCH)),
            Mistake::PageTwice => {
                if let Some(last) = after.as_ref()
                    && let Some(last) = self.keys.get(last).await?.filter(|last| filter.matches(last))
                {
                    page.insert(0, last);
                    page.truncate(filter.limit);
                }
            }
            Mistake::Loses(Way::List, part) => page = page.iter().map(|record| without(part, record)).collect(),
            _ => {}
        }
        Ok(page)
    }

    async fn update(
        &self,
        changed: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        let done = self.keys.update(changed, context).await?;
        if let Ok(stored) = &done {
            self.lose(Way::Update, stored).await;
        }
        Ok(done)
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Replacement, RegistryError>, Infallible> {
        let done = self.keys.replace(old, new.clone(), context).await?;
        if let Ok(done) = &done {
            self.lose(Way::ReplacedOne, &done.old).await;
            self.lose(Way::NewOne, &new).await;
        }
        Ok(done)
    }

    async fn revoke(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        let done = self.keys.revoke(id, context).await?;
        if let Ok(stored) = &done {
            self.lose(Way::Revocation, stored).await;
            if let Some(heir) = stored.replaced_by().filter(|_| self.is(Mistake::HeirsRevoked)) {
                let _ = self.keys.revoke(heir, None).await?;
            }
        }
        Ok(done)
    }

    async fn disable(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        let read = self.keys.get(id).await?;
        let done = self.keys.disable(id, context).await?;
        if let (Ok(_), Some(read), true) = (&done, read, self.is(Mistake::DisableUndoes)) {
            self.overwrite(read).await;
        }
        Ok(done)
    }

    async fn remove(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        self.keys.remove(id, context).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, Infallible> {
        let removed = match self.keys.remove_user(organization, user, context).await? {
            Ok(removed) => removed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut gone = Vec::new();
        for record in removed {
            let stays = match self.mistake {
                Mistake::DisabledStays => record.status() == Status::Disabled,
                Mistake::ExpiredStays => record.expires_at().is_some(),
                Mistake::HundredLeave => gone.len() >= 100,
                _ => false,
            };
            if stays {
                self.overwrite(record).await;
            } else {
                gone.push(record);
            }
        }
        Ok(Ok(gone))
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        let done = self.keys.rehash(id, from, to, context).await?;
        if let Ok(stored) = &done {
            self.lose(Way::Rehash, stored).await;
            if self.is(Mistake::RehashEnables) {
                self.overwrite(stored.clone().with_status(Status::Active)).await;
            }
        }
        Ok(done)
    }

    async fn find_idempotency(
        &self,
        id: &[u8; 32],
    ) -> Result<Result<Option<IdempotencyRecord>, RegistryError>, Infallible> {
        self.keys.find_idempotency(id).await
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), Infallible> {
        self.keys.record_usage(uses).await?;
        for one in uses.iter().filter(|_| self.is(Mistake::UseEnables)) {
            let disabled = self.keys.get(&one.id).await?.filter(|read| read.status() == Status::Disabled);
            if let Some(read) = disabled {
                self.overwrite(read.with_status(Status::Active)).await;
            }
        }
        Ok(())
    }
}

fn is_refused(mistake: Mistake) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let check = || runtime.block_on(testkit::check(async || Wrong { keys: MemoryStore::new(), mistake }));
    catch_unwind(AssertUnwindSafe(check)).is_err()
}

#[test]
fn what_is_lost_or_changed_besides_is_found() {
    use Mistake::Loses;
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let none = is_refused(Mistake::None);
    let all = [
        Loses(Way::First, Part::Permissions),
        Loses(Way::First, Part::Expiry),
        Loses(Way::First, Part::Metadata),
        Loses(Way::First, Part::Addresses),
        Loses(Way::List, Part::Addresses),
        Loses(Way::Update, Part::Addresses),
        Loses(Way::ReplacedOne, Part::Addresses),
        Loses(Way::NewOne, Part::Addresses),
        Loses(Way::First, Part::Roles),
        Loses(Way::List, Part::Roles),
        Loses(Way::Update, Part::Roles),
        Loses(Way::ReplacedOne, Part::Roles),
        Loses(Way::NewOne, Part::Roles),
        Loses(Way::Rehash, Part::Roles),
        Loses(Way::Revocation, Part::Roles),
        Loses(Way::List, Part::Permissions),
        Loses(Way::List, Part::Expiry),
        Loses(Way::List, Part::Metadata),
        Loses(Way::Update, Part::Expiry),
        Loses(Way::Update, Part::Begin),
        Loses(Way::Update, Part::Permissions),
        Loses(Way::Update, Part::Wildcards),
        Loses(Way::Update, Part::Name),
        Loses(Way::ReplacedOne, Part::Expiry),
        Loses(Way::ReplacedOne, Part::Permissions),
        Loses(Way::ReplacedOne, Part::Uses),
        Loses(Way::NewOne, Part::Expiry),
        Loses(Way::NewOne, Part::Permissions),
        Loses(Way::NewOne, Part::Wildcards),
        Loses(Way::NewOne, Part::Metadata),
        Loses(Way::Rehash, Part::Expiry),
        Loses(Way::Rehash, Part::Uses),
        Loses(Way::Revocation, Part::Uses),
        Loses(Way::Revocation, Part::Name),
        Mistake::PageWithoutPlace,
        Mistake::PageTwice,
        Mistake::AtMostAHundredListed,
        Mistake::ExpiredUnlisted,
        Mistake::EmptyIsNone,
        Mistake::IdsTrimmed,
        Mistake::IdsWithoutCase,
        Mistake::RehashEnables,
        Mistake::UseEnables,
        Mistake::DisabledStays,
        Mistake::ExpiredStays,
        Mistake::HundredLeave,
        Mistake::HeirsRevoked,
        Mistake::DisableUndoes,
    ];
    let overlooked: Vec<_> = all.into_iter().filter(|mistake| !is_refused(*mistake)).collect();
    std::panic::set_hook(loud);
    assert!(!none, "a registry without a mistake was rejected");
    assert!(overlooked.is_empty(), "not detected: {overlooked:?}");
}
