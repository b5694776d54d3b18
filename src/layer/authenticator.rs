//! Decides about a request: read, form, digest, lookup, verify. The order is the security.
//!
//! A request in; an admitted request, a lookup to wait for, or a rejection out. Calls no service and renders nothing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};

use super::forward::IdentityHeader;
use crate::{
    clock::Stopwatch,
    key::{Digests, KeyDigest, KeyFormat, KeyHasher, Padded},
    observe::{self, Decision, Observer, Outcome, Outdated},
    path::Readings,
    principal::{Caller, Nobody, Principal},
    record::{Bounds, KeyRecord},
    rejection::{Dialect, Reason, Rejection, Renderer},
    scheme::{Candidate, Credential, Reader, Scheme},
    store::{Answer, ErasedStore, Fault, Lookup, PendingAnswer},
};

/// All that a layer knows, behind one `Arc`.
pub(super) struct Authenticator {
    pub(super) reader: Reader,
    pub(super) renderer: Renderer,
    pub(super) store: Arc<dyn ErasedStore>,
    pub(super) formats: Vec<KeyFormat>,
    pub(super) hasher: KeyHasher,
    pub(super) bounds: Bounds,
    pub(super) dummy: KeyRecord,
    pub(super) deadline: Duration,
    pub(super) optional: bool,
    pub(super) pass_preflight: bool,
    pub(super) hide_credentials: bool,
    pub(super) forward_identity: Option<IdentityHeader>,
    pub(super) skip: Option<SkipPath>,
    pub(super) observers: Vec<Observer>,
}

pub(super) type SkipPath = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// What is to be done with a request.
pub(super) enum Admission {
    Pass,
    Wait(Box<Waiting>),
    Refuse(Rejection),
}

/// What is left to report and to add when the response is there.
#[derive(Default)]
pub(super) struct Passed {
    /// What will be reported, if anybody observes.
    pub(super) decision: Option<Decision>,
    /// Whether the key came in the URL (RFC 6750 §2.3).
    pub(super) by_query: bool,
    /// The WebSocket protocol to select, if the service selects none.
    pub(super) protocol: Option<Box<HeaderValue>>,
}

/// What else may come of a presented key than that it is known at once under the newest pepper.
enum Otherwise {
    Known(Box<Known>),
    Waiting(Box<Waiting>),
    Refused(Rejection),
}

/// Who presents a key, and whether it is stored under an older pepper.
struct Known {
    principal: Principal,
    outdated: Option<Outdated>,
}

/// A key that the store has to wait for.
pub(super) struct Waiting {
    pub(super) presented: Presented,
    pub(super) lookup: PendingAnswer,
}

/// What is kept of a presented key while the store is asked.
pub(super) struct Presented {
    scheme: &'static Scheme,
    /// Its digest under the newest pepper.
    newest: KeyDigest,
    /// Its digests under peppers that other nodes use already.
    next: Vec<KeyDigest>,
    /// What the store's answer is about.
    asked: Digests,
}

impl Authenticator {
    /// Goes as far as it can without waiting.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, passed: &mut Passed) -> Admission {
        if let Some(nobody) = self.exempt(request) {
            self.pass_nobody(request, nobody, passed);
            return Admission::Pass;
        }
        match self.read_and_check(request) {
            Ok(principal) => self.accept(request, principal, None, passed),
            Err(Otherwise::Known(known)) => self.accept(request, known.principal, known.outdated, passed),
            Err(Otherwise::Waiting(waiting)) => return Admission::Wait(waiting),
            Err(Otherwise::Refused(rejection)) if self.optional && rejection.reason().is_nothing_of_ours() => {
                self.pass_nobody(request, Nobody::Anonymous, passed);
            }
            Err(Otherwise::Refused(rejection)) => return Admission::Refuse(rejection),
        }
        Admission::Pass
    }

    /// Refuses a request that nobody has waited for.
    pub(super) fn refuse(&self, rejection: &Rejection, dialect: Dialect) -> Response<Bytes> {
        self.tell_of(|| Decision::refused(rejection, None));
        self.renderer.refusal(rejection, dialect)
    }

    /// Who presents a key, without a service to call.
    pub(super) fn authenticate<B>(&self, request: &Request<B>) -> Result<Result<Principal, Rejection>, Box<Waiting>> {
        Ok(match self.read_and_check(request) {
            Ok(principal) => {
                self.tell_of(|| Decision::accepted(&principal, None));
                Ok(principal)
            }
            Err(Otherwise::Waiting(waiting)) => return Err(waiting),
            Err(Otherwise::Known(known)) => self.told(Ok(*known), None),
            Err(Otherwise::Refused(rejection)) => self.told(Err(rejection), None),
        })
    }

    /// The same, once the store has answered.
    pub(super) async fn authenticate_later(&self, waiting: Waiting) -> Result<Principal, Rejection> {
        let stopwatch = self.is_observed().then(Stopwatch::start);
        let answer = waiting.lookup.await;
        let store_time = stopwatch.map(|stopwatch| stopwatch.elapsed());
        self.told(self.recognize(&waiting.presented, answer), store_time)
    }

    fn told(&self, known: Result<Known, Rejection>, store_time: Option<Duration>) -> Result<Principal, Rejection> {
        self.tell_of(|| {
            let decision = match &known {
                Ok(known) => Decision::accepted(&known.principal, known.outdated),
                Err(rejection) => Decision::refused(rejection, None),
            };
            decision.after_store_time(store_time)
        });
        known.map(|known| known.principal)
    }

    fn tell_of(&self, decision: impl FnOnce() -> Decision) {
        if self.is_observed() {
            self.tell(&decision());
        }
    }

    /// The plain case first. The long way comes to the same, and says what is wrong with all others.
    fn read_and_check<B>(&self, request: &Request<B>) -> Result<Principal, Otherwise> {
        if let Some(candidate) = self.reader.candidate(request.headers()) {
            // Before its form is looked at: by then what was stored can be loaded, and the hash does not wait.
            let padded = self.hasher.padded(candidate.key);
            if self.has_form(&candidate) {
                return self.check(candidate.scheme, candidate.key, &padded);
            }
        }
        let refused = |rejection| Err(Otherwise::Refused(rejection));
        match self.reader.read(request.headers(), request.uri()) {
            Ok(Credential { scheme, key }) if self.any_format(|format| format.has_shape(&key)) => {
                self.check(scheme, &key, &self.hasher.padded(&key))
            }
            Ok(Credential { scheme, .. }) => refused(bad_format(scheme)),
            Err(unread) => refused(unread.into()),
        }
    }

    /// Whether it is a key, and has one of the formats. A format of our own leaves no doubt about the alphabet.
    fn has_form(&self, candidate: &Candidate<'_>) -> bool {
        let fits = |format: &KeyFormat| format.has_shape(candidate.key) && (!format.is_foreign() || candidate.is_key());
        if self.formats.is_empty() { candidate.is_key() } else { self.formats.iter().any(fits) }
    }

    /// Digest, store, verification of a key whose form is right.
    fn check(&self, scheme: &'static Scheme, key: &[u8], padded: &Padded<'_>) -> Result<Principal, Otherwise> {
        let newest = self.hasher.digest_padded(padded);
        let found = match self.store.find_now(&newest) {
            Ok(Lookup::Found(record)) => Some(record),
            Ok(Lookup::Absent) if self.hasher.is_one() => None,
            Ok(Lookup::Wait) if self.hasher.is_one() && !self.has_checksum(key) => {
                return Err(Otherwise::Refused(bad_format(scheme)));
            }
            answer => return self.ask_further(scheme, key, newest, answer),
        };
        self.verify(found, [&newest], scheme).map_err(Otherwise::Refused)
    }

    /// Under which other pepper the store knows the key, or what has to be waited for. The checksum is looked at only before that: a key
    /// that is found needs none.
    fn ask_further(
        &self,
        scheme: &'static Scheme,
        key: &[u8],
        newest: KeyDigest,
        mut answer: Result<Lookup, Fault>,
    ) -> Result<Principal, Otherwise> {
        let next = self.hasher.next(key).collect();
        let mut presented = Presented { scheme, newest, next, asked: newest.into() };
        let mut others = self.hasher.others(key, newest);
        // What the store has to wait for. A later digest that it knows at once comes first.
        let mut unknown: Option<Digests> = None;
        let mut digest = newest;
        let answer = loop {
            match answer {
                Ok(Lookup::Found(record)) => {
                    presented.asked = digest.into();
                    break Ok(Some(record));
                }
                Ok(Lookup::Absent) => {}
                Ok(Lookup::Wait) => match &mut unknown {
                    Some(unknown) => unknown.rest.push(digest),
                    None => unknown = Some(digest.into()),
                },
                Err(fault) => break Err(fault),
            }
            match others.next() {
                Some(other) => digest = other,
                None => match unknown {
                    Some(unknown) if self.has_checksum(key) => {
                        presented.asked = unknown.clone();
                        let lookup = Arc::clone(&self.store).find(unknown, self.deadline);
                        return Err(Otherwise::Waiting(Box::new(Waiting { presented, lookup })));
                    }
                    Some(_) => return Err(Otherwise::Refused(bad_format(scheme))),
                    None => break Ok(None),
                },
            }
            answer = self.store.find_now(&digest);
        };
        Err(match self.recognize(&presented, answer) {
            Ok(known) => Otherwise::Known(Box::new(known)),
            Err(rejection) => Otherwise::Refused(rejection),
        })
    }

    /// Checks what the store has answered.
    fn recognize(&self, presented: &Presented, answer: Answer) -> Result<Known, Rejection> {
        let failed = |reason| Rejection::new(reason).by_scheme(Some(presented.scheme));
        let found = match answer {
            Ok(found) => found,
            Err(Fault::Failed(error)) => return Err(failed(Reason::StoreFailed).caused_by(error)),
            Err(Fault::Slow) => return Err(failed(Reason::StoreSlow)),
        };
        let principal = self.verify(found, presented.asked.iter(), presented.scheme)?;
        let (used, newest) = (*principal.record().digest(), presented.newest);
        let is_outdated = used != newest && !presented.next.contains(&used);
        let outdated = is_outdated.then_some(Outdated { used, newest, moves: presented.next.is_empty() });
        Ok(Known { principal, outdated })
    }

    /// An unknown key is compared too, with a record that never verifies.
    fn verify<'d>(
        &self,
        found: Option<KeyRecord>,
        presented: impl IntoIterator<Item = &'d KeyDigest>,
        scheme: &'static Scheme,
    ) -> Result<Principal, Rejection> {
        let verified = match found {
            Some(record) => record.verify(presented, &self.bounds),
            None => Err(Rejection::new(self.dummy.examine(presented, &self.bounds).err().unwrap_or(Reason::Unknown))),
        };
        let verified = verified.map_err(|rejection| rejection.by_scheme(Some(scheme)))?;
        Ok(Principal::new(verified, scheme))
    }

    /// Goes on with the answer of a store that had to wait.
    pub(super) fn conclude<B>(
        &self,
        request: &mut Request<B>,
        presented: &Presented,
        answer: Answer,
        passed: &mut Passed,
    ) -> Result<(), Rejection> {
        let known = self.recognize(presented, answer)?;
        self.accept(request, known.principal, known.outdated, passed);
        Ok(())
    }

    /// Leaves in the request who was found to be calling.
    fn accept<B>(
        &self,
        request: &mut Request<B>,
        principal: Principal,
        outdated: Option<Outdated>,
        passed: &mut Passed,
    ) {
        observe::record_on_span(&principal);
        self.reader.mark_sensitive(request.headers_mut());
        passed.protocol = self.reader.take_protocol(request.headers_mut()).map(Box::new);
        if self.hide_credentials {
            self.hide_credentials_of(request);
        }
        if let Some(header) = &self.forward_identity {
            header.set(request.headers_mut(), Some(principal.id()));
        }
        passed.decision = self.is_observed().then(|| Decision::accepted(&principal, outdated));
        passed.by_query = principal.scheme().is_query();
        Caller::set_principal(request.extensions_mut(), principal);
    }

    /// Whether this request needs no key at all.
    fn exempt<B>(&self, request: &Request<B>) -> Option<Nobody> {
        if self.pass_preflight && is_preflight(request) {
            Some(Nobody::Preflight)
        } else if self.skips(request) {
            Some(Nobody::Skipped)
        } else {
            None
        }
    }

    fn skips<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        let Some(skip) = &self.skip else { return false };
        let readings = || Readings::of_request(path, request.extensions());
        skip(path) && readings().is_some_and(|readings| readings.others().all(|(reading, _)| skip(reading)))
    }

    fn pass_nobody<B>(&self, request: &mut Request<B>, nobody: Nobody, passed: &mut Passed) {
        self.reader.mark_sensitive(request.headers_mut());
        Caller::set_nobody(request.extensions_mut(), nobody);
        if let Some(header) = &self.forward_identity {
            header.set(request.headers_mut(), None);
        }
        let outcome = match nobody {
            Nobody::Anonymous => Outcome::Anonymous,
            Nobody::Skipped => Outcome::Skipped,
            Nobody::Preflight => Outcome::Preflight,
        };
        passed.decision = self.is_observed().then(|| Decision::of(outcome));
    }

    /// What is reported if the caller goes away while the store is waited for.
    pub(super) fn abandoned(&self, presented: &Presented) -> Option<Decision> {
        self.is_observed().then(|| Decision::abandoned(presented.scheme))
    }

    fn has_checksum(&self, key: &[u8]) -> bool {
        self.any_format(|format| format.has_shape(key) && format.has_checksum(key))
    }

    fn any_format(&self, fits: impl Fn(&KeyFormat) -> bool) -> bool {
        self.formats.is_empty() || self.formats.iter().any(fits)
    }

    fn hide_credentials_of<B>(&self, request: &mut Request<B>) {
        let mut uri = std::mem::take(request.uri_mut());
        self.reader.hide(request.headers_mut(), &mut uri);
        *request.uri_mut() = uri;
    }

    pub(super) fn is_observed(&self) -> bool {
        !self.observers.is_empty()
    }

    pub(super) fn tell(&self, decision: &Decision) {
        for observer in &self.observers {
            // Often told while a response is dropped, where a second panic would end the process.
            let _ = catch_unwind(AssertUnwindSafe(|| observer(decision)));
        }
    }
}

fn bad_format(scheme: &'static Scheme) -> Rejection {
    Rejection::new(Reason::BadFormat).by_scheme(Some(scheme))
}

/// A CORS-preflight request, by the Fetch standard. Any other `OPTIONS` is a request like all others.
fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
