//! The bodies of a layer's refusals, made when it is built: one for each problem, and one for everything that can be wrong with the form of a
//! credential under its policy.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_LENGTH};

use super::{Problem, Rejection, RejectionFormat, advice::Advice, format::FormatKind, prerendered::kept};
use crate::scheme::{Diagnosis, SchemePolicy};

/// What the refusals of a layer say.
#[derive(Debug)]
pub(super) struct DiagnosisTexts {
    format: RejectionFormat,
    advice: Advice,
    /// For each problem, in their order.
    plain: Vec<Bytes>,
    /// In order, for a binary search.
    about_form: Vec<((usize, Diagnosis), DiagnosisText)>,
}

/// A sentence for a caller, and the body that holds it.
#[derive(Clone, Debug)]
pub(super) struct DiagnosisText {
    pub(super) sentence: Box<str>,
    body: Bytes,
    length: HeaderValue,
}

const PROBLEMS: [Problem; 8] = [
    Problem::MissingKey,
    Problem::MalformedCredential,
    Problem::AmbiguousCredential,
    Problem::InvalidKey,
    Problem::Forbidden,
    Problem::NotFound,
    Problem::Internal,
    Problem::Unavailable,
];

impl DiagnosisTexts {
    pub(super) fn new(format: &RejectionFormat, policy: &SchemePolicy, max_key_len: usize) -> Self {
        let advice = Advice::new(policy, max_key_len);
        let plain = |problem: Problem| match problem {
            Problem::MissingKey => body(format, problem, &advice.missing_key()),
            problem => body(format, problem, problem.detail()),
        };
        let plain = PROBLEMS.map(|problem| Bytes::from_static(kept(plain(problem).as_bytes()))).into();
        let mut said = Self { format: format.clone(), advice, plain, about_form: Vec::new() };
        let foreseen = said.advice.foreseen().into_iter();
        said.about_form = foreseen
            .map(|(problem, diagnosis)| ((problem as usize, diagnosis), said.make(problem, diagnosis)))
            .collect();
        said
    }

    /// What is said besides the problem: for a credential of a wrong form.
    pub(super) fn about(&self, rejection: &Rejection) -> Option<Cow<'_, DiagnosisText>> {
        let diagnosis = rejection.diagnosis().filter(|diagnosis| diagnosis.cause != super::Cause::NoCredential)?;
        let problem = rejection.reason().problem();
        let found = self.about_form.binary_search_by_key(&(problem as usize, diagnosis), |(key, _)| *key);
        Some(match found {
            Ok(place) => Cow::Borrowed(&self.about_form[place].1),
            Err(_) => Cow::Owned(self.make(problem, diagnosis)),
        })
    }

    pub(super) fn body(&self, rejection: &Rejection) -> Bytes {
        match self.about(rejection) {
            Some(said) => said.body.clone(),
            None => self.plain[rejection.reason().problem() as usize].clone(),
        }
    }

    fn make(&self, problem: Problem, diagnosis: Diagnosis) -> DiagnosisText {
        let sentence = self.advice.sentence(diagnosis);
        let body = Bytes::from(body(&self.format, problem, &sentence));
        DiagnosisText { sentence: sentence.into(), length: HeaderValue::from(body.len()), body }
    }
}

impl DiagnosisText {
    /// Says this in a refusal that is ready but for it.
    pub(super) fn replace(&self, refusal: &mut Response<Bytes>) {
        *refusal.body_mut() = self.body.clone();
        refusal.headers_mut().insert(CONTENT_LENGTH, self.length.clone());
    }
}

/// The body of a refusal in a built-in format; problem+json where a custom one has nothing to render.
fn body(format: &RejectionFormat, problem: Problem, detail: &str) -> String {
    let texts = problem.texts();
    let base = match format.kind() {
        FormatKind::ProblemJson(base) => base.as_deref(),
        FormatKind::Custom(_) | FormatKind::CustomWith(_) => None,
        FormatKind::Json => return texts.json.to_owned(),
        FormatKind::Text => return format!("{}. {detail}\n", texts.title),
    };
    let (problem_type, title) = match base {
        None => (problem.problem_type().to_owned(), texts.title),
        Some("about:blank") => ("about:blank".to_owned(), problem.status().canonical_reason().unwrap_or(texts.title)),
        Some(base) => {
            let slash = if base.ends_with(|last: char| last.is_ascii_alphanumeric()) { "/" } else { "" };
            (format!("{base}{slash}{}", texts.anchor), texts.title)
        }
    };
    format!(
        r#"{{"type": "{problem_type}", "title": "{title}", "status": {}, "detail": "{}", "code": "{}"}}"#,
        problem.status().as_u16(),
        escaped(detail),
        problem.as_str()
    )
}

/// A text inside a JSON string (RFC 8259 §7).
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter: char| letter.is_control() || matches!(letter, '"' | '\\')) {
        return Cow::Borrowed(text);
    }
    let escape = |letter: char| match letter {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}
