//! Token introspection (RFC 7662).

use std::net::IpAddr;

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use zeroize::Zeroizing;

use super::{
    Refusal, Verifier,
    check::{NotAccepted, Question},
    json, read,
    view::{ActiveKey, InactiveKey},
};

/// The longest form: a key of 4 KiB, percent-encoded, and an address.
const MAX_FORM: usize = 16 * 1024;

impl Verifier {
    pub(super) async fn introspect(&self, request: Request) -> Result<Response, Refusal> {
        if !is_form(request.headers()) {
            return Err(invalid("the content type must be application/x-www-form-urlencoded"));
        }
        let question = read(request, MAX_FORM, parse).await?;
        match self.check(question).await {
            Ok(principal) => Ok(json(&ActiveKey::new(&principal)).into_response()),
            Err(NotAccepted { status, retry_after }) => match status {
                StatusCode::TOO_MANY_REQUESTS if retry_after.is_some() => Err(later(
                    status,
                    retry_after,
                    "a limit is used up: repeat the request after `Retry-After` seconds",
                )),
                StatusCode::TOO_MANY_REQUESTS => {
                    Err(later(status, None, "a limit is used up, and no time is known after which it is free"))
                }
                StatusCode::PAYMENT_REQUIRED => Err(Refusal {
                    error: "payment_required",
                    retry_after,
                    ..Refusal::new(status, "the credits of the key are used up")
                }),
                StatusCode::SERVICE_UNAVAILABLE => {
                    Err(later(status, retry_after, "the key cannot be verified now: repeat the request later"))
                }
                status if status.is_server_error() => Err(Refusal {
                    error: "server_error",
                    ..Refusal::new(status, "the service is not set up correctly")
                }),
                _ => Ok(json(&InactiveKey::UNEXPLAINED).into_response()),
            },
        }
    }
}

fn parse(body: &[u8]) -> Result<Question, Refusal> {
    let (mut key, mut client) = (None, None);
    for (name, value) in form_urlencoded::parse(body) {
        let value = Zeroizing::new(value.into_owned());
        let repeated = match &*name {
            "token" => key.replace(value).map(|_| "`token` is repeated"),
            "client_address" => {
                let address = value.parse().map_err(|_| invalid("`client_address` is not an IP address"))?;
                client.replace(address).map(|_: IpAddr| "`client_address` is repeated")
            }
            _ => None,
        };
        if let Some(description) = repeated {
            return Err(invalid(description));
        }
    }
    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| invalid("`token` is missing"))?;
    Ok(Question { key, client, target: None })
}

fn invalid(description: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, description)
}

fn later(status: StatusCode, retry_after: Option<u64>, description: &'static str) -> Refusal {
    Refusal { error: "temporarily_unavailable", retry_after, ..Refusal::new(status, description) }
}

/// Returns whether the body is a form, whatever the parameters of its type.
fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
