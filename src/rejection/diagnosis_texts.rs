//! The bodies of a layer's rejections, made when the layer is built: one for each problem, and one
//! for each mistake in the form of a credential.

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
            Problem::MissingKey => format.body(*problem, &advice.missing_key()).into(),
            problem => format.body(*problem, problem.detail()).into(),
        };
        let plain = Problem::ALL.iter().map(plain).collect();
        let mut said = Self { format: format.clone(), advice, plain, about_form: Vec::new() };
        let foreseen = said.advice.foreseen().into_iter();
        said.about_form = foreseen
            .map(|(problem, diagnosis)| ((problem as usize, diagnosis), said.make(problem, diagnosis)))
            .collect();
        said
    }

    /// Returns the text about a credential of the wrong form.
    pub(super) fn about(&self, rejection: &Rejection) -> Option<Cow<'_, DiagnosisText>> {
        let diagnosis = rejection.diagnosis().filter(|diagnosis| diagnosis.cause != Cause::NoCredential)?;
        let problem = rejection.reason().problem();
        let found = self.about_form.binary_search_by_key(&(problem as usize, diagnosis), |(key, _)| *key);
        Some(match found {
            Ok(place) => Cow::Borrowed(&self.about_form[place].1),
            Err(_) => Cow::Owned(self.make(problem, diagnosis)),
        })
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
        let body = Bytes::from(self.format.body(problem, &sentence));
        DiagnosisText { sentence: sentence.into(), length: HeaderValue::from(body.len()), body }
    }
}

impl DiagnosisText {
    /// Replaces the body of a prerendered rejection.
    pub(super) fn replace(&self, refusal: &mut Response<Bytes>) {
        *refusal.body_mut() = self.body.clone();
        refusal.headers_mut().insert(CONTENT_LENGTH, self.length.clone());
    }
}
