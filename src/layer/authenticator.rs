//! Decides about a request: read, form, digest, lookup, verify. The order is the security.
//!
//! A request in; an admitted request, a lookup to wait for, or a rejection out. Calls no service and renders nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};

use super::{forward::IdentityHeader, watched::Watched};
use crate::{
    clock::Stopwatch,
    key::{Digests, KeyDigest, KeyFormat, KeyHasher, Padded},
    observe::{self, Decision, Observers, Outcome, Outdated},
    path::Readings,
    principal::{Caller, Nobody, Principal},
    record::{Bounds, KeyRecord},
    rejection::{Dialect, Reason, Rejection, Renderer},
    scheme::{Candidate, Credential, Diagnosis, Reader, Scheme},
    store::{Answer, ErasedStore, Fault, Lookup, PendingAnswer},
};

/// All that a layer knows, behind one `Arc`.
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
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
    pub(super) serves_grpc: bool,
    pub(super) ignores_other_formats: bool,
    pub(super) pass_preflight: bool,
    pub(super) hide_credentials: bool,
    pub(super) forward_identity: Option<IdentityHeader>,
    pub(super) skip: Option<SkipPath>,
    pub(super) observers: Observers,
    /// Whether anything of a request is kept for observers, or for the format of refusals.
    pub(super) is_watched: bool,
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
    pub(super) watched: Watched,
    pub(super) answer: AnswerTo,
    /// Whether the principal is an outer layer's, which then renders and reports what a guard refuses to it.
    pub(super) keeps_outer: bool,
    /// Why a request that passes without a key has none.
    pub(super) unread: Option<(Reason, Diagnosis)>,
    /// The WebSocket protocol to select, if the service selects none.
    pub(super) protocol: Option<Box<HeaderValue>>,
}

/// To whom a request is answered, and so what caches are told of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AnswerTo {
    /// Anybody, with a key or without: no key was looked for.
    #[default]
    Anybody,
    /// Anybody who presents no key of this layer's.
    Anonymous,
    /// The one caller whose key was accepted.
    Principal,
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

/// A request without a service to call, whose key the store has to wait for.
pub(super) struct Asked {
    waiting: Box<Waiting>,
    watched: Watched,
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
    /// What the text of the key looks like, for a refusal.
    suspected: Option<Diagnosis>,
}

impl Authenticator {
    /// Goes as far as it can without waiting.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, passed: &mut Passed) -> Admission {
        if let Some((nobody, outcome)) = self.exempt(request) {
            self.pass_exempt(request, nobody, outcome, passed);
            return Admission::Pass;
        }
        match self.read_and_check(request) {
            Ok(principal) => self.accept(request, principal, None, passed),
            Err(Otherwise::Known(known)) => self.accept(request, known.principal, known.outdated, passed),
            Err(Otherwise::Waiting(waiting)) => return Admission::Wait(waiting),
            Err(Otherwise::Refused(rejection)) if self.optional && rejection.reason().is_nothing_of_ours() => {
                passed.unread = rejection.diagnosis().map(|diagnosis| (rejection.reason(), diagnosis));
                self.pass_anonymous(request, passed);
            }
            Err(Otherwise::Refused(rejection)) => return Admission::Refuse(rejection),
        }
        Admission::Pass
    }

    /// Refuses a request that nobody has waited for.
    pub(super) fn refuse(&self, rejection: &Rejection, dialect: Dialect, mut watched: Watched) -> Response<Bytes> {
        let render = watched.take_render();
        self.tell_of(|| Decision::refused(rejection, None), watched);
        self.renderer.refusal(rejection, dialect, render)
    }

    /// Who presents a key, without a service to call.
    pub(super) fn authenticate<B>(&self, request: &Request<B>) -> Result<Result<Principal, Rejection>, Box<Asked>> {
        let known = self.read_and_check(request);
        let watched = self.watch_untouched(request);
        Ok(match known {
            Ok(principal) => {
                self.tell_of(|| Decision::accepted(&principal, None), watched);
                Ok(principal)
            }
            Err(Otherwise::Waiting(waiting)) => return Err(Box::new(Asked { waiting, watched })),
            Err(Otherwise::Known(known)) => self.told(Ok(*known), None, watched),
            Err(Otherwise::Refused(rejection)) => self.told(Err(rejection), None, watched),
        })
    }

    /// The same, once the store has answered.
    pub(super) async fn authenticate_later(&self, Asked { waiting, watched }: Asked) -> Result<Principal, Rejection> {
        let stopwatch = self.is_observed().then(Stopwatch::start);
        let answer = waiting.lookup.await;
        let store_time = stopwatch.map(|stopwatch| stopwatch.elapsed());
        self.told(self.recognize(&waiting.presented, answer), store_time, watched)
    }

    fn told(
        &self,
        known: Result<Known, Rejection>,
        store_time: Option<Duration>,
        watched: Watched,
    ) -> Result<Principal, Rejection> {
        let decision = || {
            let decision = match &known {
                Ok(known) => Decision::accepted(&known.principal, known.outdated),
                Err(rejection) => Decision::refused(rejection, None),
            };
            decision.after_store_time(store_time)
        };
        self.tell_of(decision, watched);
        known.map(|known| known.principal)
    }

    fn tell_of(&self, decision: impl FnOnce() -> Decision, watched: Watched) {
        if self.is_observed() {
            self.tell(decision(), watched);
        }
    }

    /// The plain case first. The long way comes to the same, and says what is wrong with all others.
    fn read_and_check<B>(&self, request: &Request<B>) -> Result<Principal, Otherwise> {
        if let Some(candidate) = self.reader.candidate(request.headers()) {
            // Before its form is looked at: by then what was stored can be loaded, and the hash does not wait.
            let padded = self.hasher.padded(candidate.key);
            if self.has_form(&candidate) {
                let checked = self.check(candidate.scheme, candidate.key, &padded);
                return checked.map_err(|otherwise| self.suspecting(otherwise, candidate.scheme, candidate.key));
            }
        }
        match self.others(request) {
            Some(others) => {
                let (headers, uri) = others.taken_out(request.headers(), request.uri());
                self.check_all(&headers, &uri)
            }
            None => self.check_all(request.headers(), request.uri()),
        }
    }

    /// The long way.
    fn check_all(&self, headers: &HeaderMap, uri: &Uri) -> Result<Principal, Otherwise> {
        let refused = |rejection| Err(Otherwise::Refused(rejection));
        match self.reader.read(headers, uri) {
            Ok(Credential { scheme, key }) if self.any_format(|format| format.has_shape(&key)) => {
                let checked = self.check(scheme, &key, &self.hasher.padded(&key));
                checked.map_err(|otherwise| self.suspecting(otherwise, scheme, &key))
            }
            Ok(Credential { scheme, key }) => {
                Err(self.suspecting(Otherwise::Refused(bad_format(scheme)), scheme, &key))
            }
            Err(unread) => refused(unread.into()),
        }
    }

    /// Says of a key that gives no access what its text looks like, also once the store has answered.
    #[cold]
    fn suspecting(&self, otherwise: Otherwise, scheme: &'static Scheme, key: &[u8]) -> Otherwise {
        match otherwise {
            Otherwise::Refused(rejection) => {
                Otherwise::Refused(rejection.suspected(|| self.reader.suspect(scheme, key)))
            }
            Otherwise::Waiting(mut waiting) => {
                waiting.presented.suspected = self.reader.suspect(scheme, key);
                Otherwise::Waiting(waiting)
            }
            known @ Otherwise::Known(_) => known,
        }
    }

    /// What reads the credentials of others, where those are to be told by their format.
    fn others<B>(&self, request: &Request<B>) -> Option<Reader> {
        if !self.ignores_other_formats {
            return None;
        }
        let is_ours = |text: &[u8]| self.formats.iter().any(|format| format.claims(text));
        self.reader.of_others(request.headers(), request.uri(), &is_ours)
    }

    /// Whether it is a key, and has one of the formats. A format of our own leaves no doubt about the alphabet.
    fn has_form(&self, candidate: &Candidate<'_>) -> bool {
        let fits = |format: &KeyFormat| {
            format.has_shape(candidate.key) && (!format.is_foreign() || candidate.is_key(self.reader.max_key_len()))
        };
        if self.formats.is_empty() {
            candidate.is_key(self.reader.max_key_len())
        } else {
            self.formats.iter().any(fits)
        }
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
        let mut presented = Presented { scheme, newest, next, asked: newest.into(), suspected: None };
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
        let verified = self.verify(found, presented.asked.iter(), presented.scheme);
        let principal = verified.map_err(|rejection| rejection.suspected(|| presented.suspected))?;
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
        let without_others = self.others(request).map(|others| self.reader.without(&others));
        let reader = without_others.as_ref().unwrap_or(&self.reader);
        passed.protocol = reader.take_protocol(request.headers_mut()).map(Box::new);
        if self.hide_credentials {
            hide_credentials(reader, request);
        }
        if let Some(header) = &self.forward_identity {
            header.set(request.headers_mut(), Some(principal.id()));
        }
        passed.decision = self.is_observed().then(|| Decision::accepted(&principal, outdated));
        passed.answer = AnswerTo::Principal;
        Caller::set_principal(request.extensions_mut(), principal);
    }

    /// Whether this request needs no key at all.
    fn exempt<B>(&self, request: &Request<B>) -> Option<(Nobody, Outcome)> {
        if self.pass_preflight && is_preflight(request) {
            Some((Nobody::Preflight, Outcome::Preflight))
        } else if self.skips(request) {
            Some((Nobody::Skipped, Outcome::Skipped))
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

    /// Lets a request through that presents nothing of ours. The principal of an outer layer stays.
    fn pass_anonymous<B>(&self, request: &mut Request<B>, passed: &mut Passed) {
        self.reader.mark_sensitive(request.headers_mut());
        let kept = Caller::keep_or_set_anonymous(request.extensions_mut());
        passed.keeps_outer = kept.is_some();
        if let Some(header) = &self.forward_identity {
            let id = kept.map(|principal| principal.id().clone());
            header.set(request.headers_mut(), id.as_ref());
        }
        passed.answer = AnswerTo::Anonymous;
        passed.decision = self.is_observed().then(|| Decision::of(Outcome::Anonymous));
    }

    /// Lets a request through unread.
    fn pass_exempt<B>(&self, request: &mut Request<B>, nobody: Nobody, outcome: Outcome, passed: &mut Passed) {
        self.reader.mark_sensitive(request.headers_mut());
        Caller::set_nobody(request.extensions_mut(), nobody);
        if let Some(header) = &self.forward_identity {
            header.set(request.headers_mut(), None);
        }
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

    pub(super) fn is_observed(&self) -> bool {
        !self.observers.is_empty()
    }
}

fn hide_credentials<B>(reader: &Reader, request: &mut Request<B>) {
    let mut uri = std::mem::take(request.uri_mut());
    reader.hide(request.headers_mut(), &mut uri);
    *request.uri_mut() = uri;
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
