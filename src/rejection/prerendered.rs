//! Refusals that are made when the layer is built, by the one renderer. A copy costs half of what making one anew does.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Response, response::Parts};

use super::{Problem, Reason, Rejection, Renderer, ResponseProtocol};
use crate::scheme::Scheme;

/// For each problem, in their order, the refusal of a request, and of one whose key came by Bearer.
#[derive(Debug)]
pub(super) struct Prerendered(Vec<[Response<Bytes>; 2]>);

/// One reason for each problem.
const REASONS: [Reason; 8] = [
    Reason::Missing,
    Reason::Malformed,
    Reason::Ambiguous,
    Reason::Unknown,
    Reason::Forbidden,
    Reason::ForeignResourceHidden,
    Reason::Misconfigured,
    Reason::StoreFailed,
];

static BEARER: Scheme = Scheme::bearer();

impl Prerendered {
    /// Nothing is made ready.
    pub(super) const NONE: Self = Self(Vec::new());

    pub(super) fn new(renderer: &Renderer) -> Self {
        let refusal = |reason, scheme| {
            let rejection = Rejection::new(reason).by_scheme(scheme);
            let mut refusal = respond(|parts| renderer.render(&rejection, ResponseProtocol::Http, None, parts));
            refusal.headers_mut().values_mut().for_each(intern_header_value);
            refusal
        };
        Self(REASONS.map(|reason| [None, Some(&BEARER)].map(|scheme| refusal(reason, scheme))).into())
    }

    pub(super) fn get(&self, problem: Problem, by_bearer: bool) -> Option<&Response<Bytes>> {
        Some(&self.0.get(problem as usize)?[usize::from(by_bearer)])
    }
}

/// A response whose head is made along with its body.
pub(super) fn respond(render: impl FnOnce(&mut Parts) -> Bytes) -> Response<Bytes> {
    let (mut parts, ()) = Response::new(()).into_parts();
    let body = render(&mut parts);
    Response::from_parts(parts, body)
}

/// Makes copies of this value point at it, so that they count no reference.
///
/// Each distinct value is kept as long as the process lives; values come from configuration, so there are few.
pub(crate) fn intern_header_value(value: &mut HeaderValue) {
    if let Ok(same) = HeaderValue::from_maybe_shared(Bytes::from_static(kept(value.as_bytes()))) {
        *value = same;
    }
}

/// The one copy of these bytes that is kept for good.
pub(super) fn kept(bytes: &[u8]) -> &'static [u8] {
    static KEPT: LazyLock<Mutex<HashSet<&'static [u8]>>> = LazyLock::new(Mutex::default);
    let mut all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = all.get(bytes).copied().unwrap_or_else(|| Vec::leak(bytes.to_vec()));
    all.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rejection::{Cause, RejectionFormat},
        scheme::{Challenges, Diagnosis, SchemePolicy, Seen},
    };

    #[test]
    fn a_refusal_that_is_ready_is_the_one_that_is_rendered() {
        static PRIVATE: Scheme = Scheme::x_api_key();
        let alike =
            [Reason::WrongScheme, Reason::BadFormat, Reason::Revoked, Reason::NoMatchingRoute, Reason::StoreTimeout];
        let schemes = [None, Some(&BEARER), Some(&PRIVATE)];
        let dialects = [
            ResponseProtocol::Http,
            ResponseProtocol::HttpHead,
            ResponseProtocol::HttpBodiless,
            ResponseProtocol::Grpc,
            ResponseProtocol::GrpcWeb,
        ];
        for policy in [SchemePolicy::default(), Scheme::authorization("BEARER").into(), Scheme::x_api_key().into()] {
            for realm in ["api", "Schl\u{fc}ssel \"\\"] {
                for format in [RejectionFormat::problem_json(), RejectionFormat::json(), RejectionFormat::text()] {
                    let challenges = Challenges::new(&policy, realm, &[]).unwrap();
                    let renderer = Renderer::new(format, challenges, &policy, 512).unwrap();
                    let same = |rejection: &Rejection, dialect| {
                        let ready = renderer.refusal(rejection, dialect, None);
                        let made = respond(|parts| renderer.render(rejection, dialect, None, parts));
                        assert_eq!((ready.status(), ready.headers()), (made.status(), made.headers()));
                        assert_eq!(ready.body(), made.body());
                    };
                    for diagnosis in [
                        Diagnosis::new(Cause::Empty, Seen::Scheme(0)),
                        Diagnosis::new(Cause::NoCredential, Seen::Nothing),
                        Diagnosis::new(Cause::TwoPlaces, Seen::Schemes(7, 9)),
                    ] {
                        for dialect in dialects {
                            same(&Rejection::new(Reason::Malformed).diagnosed(diagnosis), dialect);
                        }
                    }
                    for reason in REASONS.into_iter().chain(alike) {
                        for scheme in schemes {
                            let rejection = Rejection::new(reason).by_scheme(scheme);
                            for dialect in dialects {
                                same(&rejection, dialect);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn there_is_a_reason_for_each_problem_in_their_order() {
        for (number, reason) in REASONS.into_iter().enumerate() {
            assert_eq!(reason.problem() as usize, number);
        }
        assert_eq!(REASONS.len(), Problem::Unavailable as usize + 1);
    }
}
