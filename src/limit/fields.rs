//! The fields `RateLimit-Policy` and `RateLimit` of a response, in the form of
//! `draft-ietf-httpapi-ratelimit-headers`.
//!
//! Both are Lists of Strings with parameters (RFC 9651): one member for each limit.

use std::{fmt::Write, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::whole_seconds;

/// Sets which responses have the limits of the caller, in `RateLimit-Policy` and `RateLimit`.
/// [`rate_limit_fields`](crate::layer::ApiKeyLayerBuilder::rate_limit_fields) has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RateLimitFields {
    /// None. The caller learns from a 429, its `Retry-After` and its body.
    #[default]
    Off,
    /// Each 429 because of a limit.
    OnRefusal(FieldsForm),
    /// Each response to an accepted key, and each 429 because of a limit. This costs each request
    /// two headers.
    Always(FieldsForm),
}

/// The form of the fields. The draft may still change, so that a later one may be another variant.
/// [`rate_limit_fields`](crate::layer::ApiKeyLayerBuilder::rate_limit_fields) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldsForm {
    /// That of draft 11 (May 2026), which is also that of drafts 8 to 10:
    ///
    /// ```text
    /// RateLimit-Policy: "burst";q=20;w=2, "daily";q=10000;w=86400
    /// RateLimit: "burst";r=12;t=1, "daily";r=9402;t=40210
    /// ```
    Draft11,
}

/// One limit, as the fields describe it.
pub(crate) struct LimitState<'a> {
    pub(crate) name: &'a str,
    pub(crate) quota: u64,
    /// The time in which the quota is allowed.
    pub(crate) window: Option<Duration>,
    /// Whether the quota counts requests at the same time.
    pub(crate) is_concurrency: bool,
    /// What is left of the quota. `None` if the caller may not know.
    pub(crate) remaining: Option<u64>,
    /// When more is left.
    pub(crate) more_after: Option<Duration>,
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The largest Integer (RFC 9651 §3.3.1).
const LARGEST: u64 = 999_999_999_999_999;

impl FieldsForm {
    /// Adds the fields to `headers`, also to those of another limiter. `retry_after` is that of
    /// the response: a client would not believe it if a field said a later time, so such a time is
    /// left out.
    pub(crate) fn write<'a>(
        self,
        limits: impl IntoIterator<Item = LimitState<'a>>,
        retry_after: Option<Duration>,
        headers: &mut HeaderMap,
    ) {
        let Self::Draft11 = self;
        let (mut policy, mut left) = (String::new(), String::new());
        for limit in limits {
            member(limit.name, 'q', limit.quota, &mut policy);
            if let Some(window) = limit.window {
                number('w', whole_seconds(window).max(1), &mut policy);
            }
            if limit.is_concurrency {
                policy.push_str(r#";qu="concurrent-requests""#);
            }
            if let Some(remaining) = limit.remaining {
                member(limit.name, 'r', remaining, &mut left);
                let is_sooner = |after: &Duration| retry_after.is_none_or(|retry| *after <= retry);
                if let Some(after) = limit.more_after.filter(is_sooner) {
                    number('t', whole_seconds(after), &mut left);
                }
            }
        }
        for (name, list) in [(POLICY, policy), (LIMIT, left)] {
            if let Some(value) = HeaderValue::try_from(list).ok().filter(|value| !value.is_empty()) {
                headers.append(name, value);
            }
        }
    }
}

/// Starts a member of a list, with its first parameter. The name of a limit needs no escapes.
fn member(name: &str, parameter: char, value: u64, list: &mut String) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    let _ = write!(list, "\"{name}\"");
    number(parameter, value, list);
}

fn number(parameter: char, value: u64, list: &mut String) {
    let _ = write!(list, ";{parameter}={}", value.min(LARGEST));
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};
    use sfv::{BareItem, Item, List, ListEntry, Parser};

    use super::*;

    fn fields(limits: Vec<LimitState<'_>>, retry_after: Option<Duration>) -> [Option<String>; 2] {
        let mut headers = HeaderMap::new();
        FieldsForm::Draft11.write(limits, retry_after, &mut headers);
        ["ratelimit-policy", "ratelimit"].map(|name| Some(headers.get(name)?.to_str().unwrap().to_owned()))
    }

    fn state(name: &str) -> LimitState<'_> {
        let (window, more_after) = (Some(Duration::from_secs(60)), Some(Duration::from_secs(30)));
        LimitState { name, quota: 100, window, is_concurrency: false, remaining: Some(50), more_after }
    }

    #[test]
    fn the_fields_are_those_of_the_draft() {
        let daily =
            LimitState { quota: 1000, window: Some(Duration::from_hours(24)), remaining: None, ..state("daily") };
        let [window, more_after] = [None; 2];
        let streams =
            LimitState { quota: 2, window, is_concurrency: true, remaining: Some(0), more_after, ..state("streams") };
        let policy = r#""burst";q=100;w=60, "daily";q=1000;w=86400, "streams";q=2;qu="concurrent-requests""#;
        let left = r#""burst";r=50;t=30, "streams";r=0"#;
        assert_eq!(
            fields(vec![state("burst"), daily, streams], None),
            [policy, left].map(|text| Some(text.to_owned()))
        );
    }

    #[test]
    fn times_are_rounded_up_and_numbers_are_integers_of_a_structured_field() {
        let most = Some(Duration::MAX);
        let whole =
            LimitState { quota: u64::MAX, window: most, remaining: Some(u64::MAX), more_after: most, ..state("a") };
        let (policy, left) =
            (r#""a";q=999999999999999;w=999999999999999"#, r#""a";r=999999999999999;t=999999999999999"#);
        assert_eq!(fields(vec![whole], None), [policy, left].map(|text| Some(text.to_owned())));
        let short = |millis| Some(Duration::from_millis(millis));
        let part = LimitState { window: short(250), more_after: short(1001), ..state("a") };
        assert_eq!(fields(vec![part], None), [r#""a";q=100;w=1"#, r#""a";r=50;t=2"#].map(|text| Some(text.to_owned())));
        let none = LimitState { window: short(0), more_after: short(0), ..state("a") };
        assert_eq!(fields(vec![none], None), [r#""a";q=100;w=1"#, r#""a";r=50;t=0"#].map(|text| Some(text.to_owned())));
    }

    #[test]
    fn no_field_says_a_later_time_than_retry_after() {
        let left = |retry_after| fields(vec![state("a")], Some(Duration::from_secs(retry_after)))[1].clone().unwrap();
        assert_eq!([29, 30].map(left), [r#""a";r=50"#, r#""a";r=50;t=30"#]);
    }

    #[test]
    fn a_list_without_members_is_no_field() {
        assert_eq!(fields(Vec::new(), None), [None, None]);
        let hidden = LimitState { remaining: None, ..state("a") };
        assert_eq!(fields(vec![hidden], None), [Some(r#""a";q=100;w=60"#.to_owned()), None]);
    }

    fn items(list: Option<&String>) -> Vec<Item> {
        let list = list.map_or_else(List::new, |list| Parser::new(list).parse::<List>().unwrap());
        let item = |entry| match entry {
            ListEntry::Item(item) => item,
            ListEntry::InnerList(list) => panic!("{list:?}"),
        };
        list.into_iter().map(item).collect()
    }

    fn integer(item: &Item, name: &str) -> Option<u64> {
        item.params.get(name).map(|value| u64::try_from(i64::from(value.as_integer().unwrap())).unwrap())
    }

    prop_compose! {
        /// A limit with any name that a plan admits.
        fn any_limit()(
            name in "[!#-\\[\\]-~]{1,64}", quota: u64, window in option::of(any::<Duration>()),
            is_concurrency: bool, remaining: Option<u64>, more_after in option::of(any::<Duration>()),
        ) -> (String, u64, Option<Duration>, bool, Option<u64>, Option<Duration>) {
            (name, quota, window, is_concurrency, remaining, more_after)
        }
    }

    proptest! {
        #[test]
        fn a_parser_of_structured_fields_reads_back_what_was_written(limits in vec(any_limit(), 0..9)) {
            let states = limits.iter().map(|(name, quota, window, is_concurrency, remaining, more_after)| LimitState {
                name, quota: *quota, window: *window, is_concurrency: *is_concurrency, remaining: *remaining, more_after: *more_after,
            });
            let [policy, left] = fields(states.collect(), None);
            let (policy, left) = (items(policy.as_ref()), items(left.as_ref()));
            prop_assert_eq!(policy.len(), limits.len());
            for (item, (name, quota, window, is_concurrency, ..)) in policy.iter().zip(&limits) {
                prop_assert_eq!(item.bare_item.as_string().map(sfv::StringRef::as_str), Some(name.as_str()));
                prop_assert_eq!(integer(item, "q"), Some((*quota).min(LARGEST)));
                prop_assert_eq!(integer(item, "w"), window.map(|window| whole_seconds(window).clamp(1, LARGEST)));
                let unit = item.params.get("qu").and_then(BareItem::as_string).map(sfv::StringRef::as_str);
                prop_assert_eq!(unit, is_concurrency.then_some("concurrent-requests"));
            }
            let shown: Vec<_> = limits.iter().filter(|limit| limit.4.is_some()).collect();
            prop_assert_eq!(left.len(), shown.len());
            for (item, (name, .., remaining, more_after)) in left.iter().zip(shown) {
                prop_assert_eq!(item.bare_item.as_string().map(sfv::StringRef::as_str), Some(name.as_str()));
                prop_assert_eq!(integer(item, "r"), remaining.map(|remaining| remaining.min(LARGEST)));
                prop_assert_eq!(integer(item, "t"), more_after.map(|after| whole_seconds(after).min(LARGEST)));
            }
        }
    }
}
