//! The bodies of a layer's rejections, made when the layer is built: one for each problem, one for
//! each mistake in the form of a credential, and one for each limit.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_LENGTH};

use super::{Cause, Problem, Rejection, advice::Advice, format::BuiltIn};
use crate::scheme::{Diagnosis, SchemePolicy};

/// The bodies of a layer's rejections.
#[derive(Debug)]
pub(super) struct DiagnosisTexts {
    format: BuiltIn,
    advice: Advice,
    /// For each problem, in the order of `Problem::ALL`.
    plain: Vec<Bytes>,
    /// For each mistake in the form of a credential. Sorted, for a binary search.
    about_form: Vec<((usize, Diagnosis), DiagnosisText)>,
    /// For each limit, in a format that names it. Sorted, for a binary search.
    #[cfg(feature = "limits")]
    about_limit: Vec<((usize, Box<str>), DiagnosisText)>,
}

/// A sentence for the client, and the body that contains it.
#[derive(Clone, Debug)]
pub(super) struct DiagnosisText {
    pub(super) sentence: Box<str>,
    body: Bytes,
    length: HeaderValue,
}

impl DiagnosisTexts {
    pub(super) fn new(format: &BuiltIn, policy: &SchemePolicy, max_key_len: usize) -> Self {
        let advice = Advice::new(policy, max_key_len);
        let plain = |problem: &Problem| match problem {
            Problem::MissingKey => format.body(*problem, &advice.missing_key(), &[]).into(),
            problem => format.body(*problem, problem.detail(), &[]).into(),
        };
        let plain = Problem::ALL.iter().map(plain).collect();
        let mut said = Self {
            format: format.clone(),
            advice,
            plain,
            about_form: Vec::new(),
            #[cfg(feature = "limits")]
            about_limit: Vec::new(),
        };
        let foreseen = said.advice.foreseen().into_iter();
        said.about_form = foreseen
            .map(|(problem, diagnosis)| ((problem as usize, diagnosis), said.make(problem, diagnosis)))
            .collect();
        said
    }

    /// Makes the texts for limits of these names, each with the problem that it leads to.
    #[cfg(feature = "limits")]
    pub(super) fn foresee_limits<'l>(&mut self, limits: impl IntoIterator<Item = (Problem, &'l str)>) {
        if self.format.names_limits() {
            for (problem, name) in limits {
                let name = [Box::from(name)];
                let text = self.make_limited(problem, &name);
                let [name] = name;
                self.about_limit.push(((problem as usize, name), text));
            }
            self.about_limit.sort_by(|(one, _), (other, _)| one.cmp(other));
            self.about_limit.dedup_by(|(one, _), (other, _)| one == other);
        }
    }

    /// Returns the text about a credential of the wrong form, or about limits that are full.
    pub(super) fn about(&self, rejection: &Rejection) -> Option<Cow<'_, DiagnosisText>> {
        #[cfg(feature = "limits")]
        if !rejection.violated().is_empty() {
            return self.format.names_limits().then(|| self.limited(rejection));
        }
        let diagnosis = rejection.diagnosis().filter(|diagnosis| diagnosis.cause != Cause::NoCredential)?;
        let problem = rejection.reason().problem();
        let found = self.about_form.binary_search_by_key(&(problem as usize, diagnosis), |(key, _)| *key);
        Some(match found {
            Ok(place) => Cow::Borrowed(&self.about_form[place].1),
            Err(_) => Cow::Owned(self.make(problem, diagnosis)),
        })
    }

    #[cfg(feature = "limits")]
    fn limited(&self, rejection: &Rejection) -> Cow<'_, DiagnosisText> {
        let (problem, violated) = (rejection.reason().problem(), rejection.violated());
        let place = match violated {
            [name] => self.about_limit.binary_search_by(|((of, limit), _)| (*of, limit).cmp(&(problem as usize, name))),
            _ => Err(0),
        };
        match place {
            Ok(place) => Cow::Borrowed(&self.about_limit[place].1),
            Err(_) => Cow::Owned(self.make_limited(problem, violated)),
        }
    }

    /// Returns the sentence for a client that sent no credential.
    pub(super) fn missing_key(&self) -> String {
        self.advice.missing_key()
    }

    pub(super) fn body(&self, rejection: &Rejection) -> Bytes {
        match self.about(rejection) {
            Some(said) => said.body.clone(),
            None => self.plain[rejection.reason().problem() as usize].clone(),
        }
    }

    fn make(&self, problem: Problem, diagnosis: Diagnosis) -> DiagnosisText {
        let sentence = self.advice.sentence(diagnosis);
        let body = self.format.body(problem, &sentence, &[]);
        DiagnosisText::new(sentence, body)
    }

    #[cfg(feature = "limits")]
    fn make_limited(&self, problem: Problem, violated: &[Box<str>]) -> DiagnosisText {
        let body = self.format.body(problem, problem.detail(), violated);
        DiagnosisText::new(problem.detail(), body)
    }
}

impl DiagnosisText {
    fn new(sentence: impl Into<Box<str>>, body: String) -> Self {
        let body = Bytes::from(body);
        Self { sentence: sentence.into(), length: HeaderValue::from(body.len()), body }
    }

    /// Replaces the body of a prerendered rejection.
    pub(super) fn replace(&self, refusal: &mut Response<Bytes>) {
        *refusal.body_mut() = self.body.clone();
        refusal.headers_mut().insert(CONTENT_LENGTH, self.length.clone());
    }
}
