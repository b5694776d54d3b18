//! Writes the sentence for a caller that sent a credential of the wrong form: what was seen, and
//! what to send. The sentence names places and auth-schemes that this crate knows, and never
//! repeats what was sent.

use super::{Cause, Problem};
use crate::scheme::{Diagnosis, PLACES, Scheme, SchemePolicy, Seen, WORDS};

/// The values that the sentences name.
#[derive(Debug)]
pub(super) struct Advice {
    schemes: Vec<Scheme>,
    /// Every advertised place: `Authorization: Bearer KEY or X-API-Key: KEY`.
    all: String,
    max_key_len: usize,
}

/// Causes that concern one scheme of the policy.
const OF_A_SCHEME: [Cause; 16] = [
    Cause::MissingScheme,
    Cause::OtherScheme,
    Cause::ColonAfterScheme,
    Cause::NoSpaceAfterScheme,
    Cause::RepeatedScheme,
    Cause::UnexpectedScheme,
    Cause::Quoted,
    Cause::Parameter,
    Cause::SeveralInOneLine,
    Cause::TooLong,
    Cause::Empty,
    Cause::Whitespace,
    Cause::Character,
    Cause::NotBase64,
    Cause::NoColon,
    Cause::Repeated,
];

/// Likely mistakes in a key that the store does not accept.
const SUSPECTED: [Cause; 5] =
    [Cause::RepeatedScheme, Cause::UnexpectedScheme, Cause::Quoted, Cause::Parameter, Cause::SeveralInOneLine];

/// The maximum number of schemes for which the sentences about two places are made in advance.
const PAIRED: usize = 12;

impl Advice {
    pub(super) fn new(policy: &SchemePolicy, max_key_len: usize) -> Self {
        let usages: Vec<String> = policy.advertised().map(Scheme::usage).collect();
        let all = match usages.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        };
        Self { schemes: policy.schemes().to_vec(), all, max_key_len }
    }

    /// Returns every diagnosis that is possible under this policy, with the problem that it leads
    /// to.
    pub(super) fn foreseen(&self) -> Vec<(Problem, Diagnosis)> {
        let number = |number: usize| u8::try_from(number).ok();
        let numbers = |list_len: usize| (0..list_len).filter_map(number);
        let mut foreseen = Vec::new();
        for order in numbers(self.schemes.len()) {
            for cause in OF_A_SCHEME {
                let diagnosis = Diagnosis::new(cause, Seen::Scheme(order));
                let problem =
                    if cause == Cause::Repeated { Problem::AmbiguousCredential } else { Problem::MalformedCredential };
                foreseen.push((problem, diagnosis));
                if matches!(cause, Cause::MissingScheme | Cause::NoSpaceAfterScheme | Cause::SeveralInOneLine) {
                    foreseen.push((Problem::MissingKey, diagnosis));
                }
            }
            foreseen.extend(SUSPECTED.map(|cause| (Problem::InvalidKey, Diagnosis::new(cause, Seen::Scheme(order)))));
            for other in numbers(self.schemes.len().min(PAIRED)).filter(|other| order < *other) {
                let pair = Diagnosis::new(Cause::TwoPlaces, Seen::Schemes(order, other));
                foreseen.push((Problem::AmbiguousCredential, pair));
            }
        }
        let missing = |cause, seen| (Problem::MissingKey, Diagnosis::new(cause, seen));
        foreseen.push(missing(Cause::OtherScheme, Seen::Nothing));
        foreseen.extend(numbers(WORDS.len()).map(|word| missing(Cause::OtherScheme, Seen::Word(word))));
        foreseen.extend(numbers(PLACES.len()).map(|place| missing(Cause::OtherPlace, Seen::Place(place))));
        foreseen.sort_unstable_by_key(|(problem, diagnosis)| (*problem as usize, *diagnosis));
        foreseen
    }

    /// Returns the sentence for a caller without a credential.
    pub(super) fn missing_key(&self) -> String {
        format!("No API key was sent: send {}.", self.all)
    }

    pub(super) fn sentence(&self, diagnosis: Diagnosis) -> String {
        let all = &self.all;
        let named = |order: u8| self.schemes.get(usize::from(order));
        let scheme = match diagnosis.seen {
            Seen::Scheme(order) => named(order),
            _ => None,
        };
        let send = scheme.map_or_else(|| all.clone(), Scheme::usage);
        match diagnosis.cause {
            Cause::NoCredential => self.missing_key(),
            Cause::MissingScheme => format!("A scheme is missing: send {send}."),
            Cause::OtherScheme => {
                let word = match diagnosis.seen {
                    Seen::Word(word) => WORDS.get(usize::from(word)).copied(),
                    _ => None,
                };
                let word = word.unwrap_or("The scheme that was sent");
                // The client sent the name of a header as a scheme:
                // `Authorization: X-API-Key: KEY`.
                let as_what = if all.contains(&format!("{word}: ")) { "as a scheme" } else { "here" };
                format!("{word} is not accepted {as_what}: send {send}.")
            }
            Cause::OtherPlace => {
                let place = match diagnosis.seen {
                    Seen::Place(place) => PLACES.get(usize::from(place)),
                    _ => None,
                };
                let place =
                    place.map_or_else(|| "The place that was used".to_owned(), |place| capitalized(&place.field()));
                format!("{place} is not read here: send {send}.")
            }
            Cause::ColonAfterScheme => format!("A colon follows the scheme, where a space belongs: send {send}."),
            Cause::NoSpaceAfterScheme => format!("No space follows the scheme: send {send}."),
            Cause::RepeatedScheme => format!("The scheme is written twice before the key: send {send}."),
            Cause::UnexpectedScheme => format!("There is a scheme before the key, where none belongs: send {send}."),
            Cause::Quoted => format!("The key is in quotes: send {send}, without quotes."),
            Cause::Parameter => format!("The key is sent as a parameter: send it alone, as {send}."),
            Cause::SeveralInOneLine => format!("There is more than one credential in one line: send one, as {send}."),
            Cause::TooLong => {
                format!("The key is too long, this service reads at most {} bytes: send {send}.", self.max_key_len)
            }
            Cause::Empty => format!("The key is empty: send {send}."),
            Cause::Whitespace => format!("There is white space inside the key: send {send}."),
            Cause::Character => {
                let alphabet = scheme.map_or("visible ASCII", Scheme::alphabet);
                format!("The key has a character that is not allowed here: send {send}, where KEY is {alphabet}.")
            }
            Cause::NotBase64 => format!("The text after the scheme is not base64: send {send}."),
            Cause::NoColon => format!("The text after the scheme has no colon once it is decoded: send {send}."),
            Cause::TwoPlaces => {
                let pair = match diagnosis.seen {
                    Seen::Schemes(one, other) => named(one).zip(named(other)),
                    _ => None,
                };
                match pair {
                    Some((one, other)) => {
                        format!(
                            "Two credentials were sent, in {} and in {}: send one.",
                            one.location(),
                            other.location()
                        )
                    }
                    None => Problem::AmbiguousCredential.detail().to_owned(),
                }
            }
            Cause::Repeated => match scheme {
                Some(scheme) => format!("{} was sent more than once: send {send}, once.", capitalized(&scheme.field())),
                None => Problem::AmbiguousCredential.detail().to_owned(),
            },
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
