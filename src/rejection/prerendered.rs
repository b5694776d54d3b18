//! Renders rejections when the layer is built. A copy costs less than rendering again.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER, response::Parts};

use super::{Problem, Reason, Rejection, Renderer, ResponseProtocol};
use crate::scheme::Scheme;

/// Two responses for each problem, in the order of `Problem::ALL`. The second is for a key that
/// came by Bearer, the first for every other rejection.
#[derive(Debug)]
pub(super) struct Prerendered(Vec<[Response<Bytes>; 2]>);

static BEARER: Scheme = Scheme::bearer();

impl Prerendered {
    /// Renders nothing in advance.
    pub(super) const NONE: Self = Self(Vec::new());

    pub(super) fn new(renderer: &Renderer) -> Self {
        let refusal = |problem: Problem, scheme| {
            let rejection = Rejection::new(a_reason_of(problem)).by_scheme(scheme);
            let mut response = respond(|parts| renderer.render(&rejection, ResponseProtocol::Http, None, parts));
            if problem.status() == StatusCode::TOO_MANY_REQUESTS {
                // A copy has space for the time that nearly every 429 has.
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        };
        let both = |problem: &Problem| [None, Some(&BEARER)].map(|scheme| refusal(*problem, scheme));
        Self(Problem::ALL.iter().map(both).collect())
    }

    pub(super) fn get(&self, problem: Problem, by_bearer: bool) -> Option<&Response<Bytes>> {
        Some(&self.0.get(problem as usize)?[usize::from(by_bearer)])
    }
}

/// The first reason of a problem. Each problem has one.
fn a_reason_of(problem: Problem) -> Reason {
    let mut reasons = Reason::ALL.iter().copied();
    reasons.find(|reason| reason.problem() == problem).unwrap_or(Reason::Misconfigured)
}

/// Renders a head and a body, and joins them into a response.
pub(super) fn respond(render: impl FnOnce(&mut Parts) -> Bytes) -> Response<Bytes> {
    let (mut parts, ()) = Response::new(()).into_parts();
    let body = render(&mut parts);
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "limits")]
    use std::time::Duration;

    use super::*;
    use crate::{
        rejection::{Cause, RejectionFormat},
        scheme::{Challenges, Diagnosis, SchemePolicy, Seen},
    };

    #[test]
    fn a_refusal_that_is_ready_is_the_one_that_is_rendered() {
        static PRIVATE: Scheme = Scheme::x_api_key();
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
                    #[cfg(feature = "limits")]
                    let renderer = renderer.foreseeing_limits([(Problem::RateLimited, "burst")]);
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
                    #[cfg(feature = "limits")]
                    for names in [&["burst"][..], &["daily"], &["burst", "daily"]] {
                        for after in [None, Some(Duration::ZERO), Some(Duration::from_millis(1500))] {
                            let names = names.iter().map(|name| (*name).into()).collect();
                            let rejection = Rejection::limited(Reason::RateLimited, names, after);
                            for scheme in schemes {
                                for dialect in dialects {
                                    same(&rejection.clone().by_scheme(scheme), dialect);
                                }
                            }
                        }
                    }
                    for reason in Reason::ALL.iter().copied() {
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
        for (number, problem) in Problem::ALL.iter().enumerate() {
            assert_eq!(*problem as usize, number);
            assert_eq!(a_reason_of(*problem).problem(), *problem);
        }
    }
}
