//! The URL of a server. It may name several hosts, as libpq reads it.

use std::borrow::Cow;

use sqlx::postgres::PgConnectOptions;

/// The URL parameters that sqlx reads.
const SETTINGS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// The parameter that selects one of several servers.
const TARGET: &str = "target_session_attrs";

/// Its values that mean the primary.
const PRIMARY: [&str; 2] = ["read-write", "primary"];

/// The parameters that have one value for all hosts, or one for each.
const LISTS: [&str; 3] = ["host", "hostaddr", "port"];

/// Returns the options for each host of the URL, at least one.
pub(super) fn parse(url: &str) -> Result<Vec<PgConnectOptions>, sqlx::Error> {
    check_settings(url)?;
    let urls = for_each_host(url).map_err(|why| sqlx::Error::Configuration(why.into()))?;
    urls.iter().map(|url| url.parse()).collect()
}

/// Rejects unknown URL parameters. sqlx ignores them, so a typo in `sslmode` would leave the server
/// unverified.
fn check_settings(url: &str) -> Result<(), sqlx::Error> {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let is_known = |name: &str| SETTINGS.contains(&name) || name == TARGET || name.starts_with("options[");
    let unknown = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !is_known(name));
    match unknown {
        None => Ok(()),
        // The text before the `@` may be part of a password, so the error must not show it.
        Some(_) if query.contains('@') => {
            Err(sqlx::Error::Configuration("the URL has a `?` before its `@`: write it as %3F".into()))
        }
        Some((name, _)) => {
            Err(sqlx::Error::Configuration(format!("the URL has an unknown parameter: {name:?}").into()))
        }
    }
}

/// Returns a URL for each host, which sqlx can parse. An error contains no part of the URL, since
/// any may be a part of a password that is not encoded.
fn for_each_host(url: &str) -> Result<Vec<String>, String> {
    let text = url.split('#').next().unwrap_or_default();
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    // sqlx reports what is wrong with such a URL.
    let Some((scheme, rest)) = address.split_once("://") else { return Ok(vec![url.to_owned()]) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let hosts: Vec<&str> = hosts.split(',').collect();
    let mut parameters: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(query.as_bytes()).collect();

    if parameters.iter().any(|(name, value)| name == TARGET && !PRIMARY.contains(&&**value)) {
        return Err(format!("{TARGET} must be `read-write` or `primary`: a store uses the primary only"));
    }
    let is_list = |name: &str| LISTS.contains(&name);
    let lists = || parameters.iter().filter(|(name, _)| is_list(name)).map(|(name, list)| (name, list.split(',')));
    let of_parameters = lists().filter(|(name, _)| *name != "port").map(|(_, list)| list.count());
    let count = of_parameters.chain([hosts.len()]).max().unwrap_or(1);
    if hosts.len() != 1 && hosts.len() != count || lists().any(|(_, list)| ![1, count].contains(&list.count())) {
        return Err(format!(
            "the URL has lists of different lengths: {count} hosts need 1 or {count} ports, and 1 or {count} `hostaddr`"
        ));
    }
    if count > 1 {
        let is_empty = |host: &str| host.is_empty() || host.starts_with(':');
        let mut named = lists().filter(|(name, _)| *name != "port").flat_map(|(_, list)| list);
        if (hosts.len() > 1 && hosts.iter().any(|host| is_empty(host))) || named.any(is_empty) {
            return Err("the URL has an empty host".to_owned());
        }
        // What looks like a host may be a part of a password that is not encoded.
        if path.contains('@') {
            return Err("the URL has a `/` before its `@`: write it as %2F".to_owned());
        }
    }
    parameters.retain(|(name, _)| name != TARGET);

    let urls = (0..count).map(|index| {
        let host = hosts.get(index).or(hosts.first()).copied().unwrap_or_default();
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &parameters {
            let own = is_list(name).then(|| value.split(',').nth(index)).flatten();
            query.append_pair(name, own.unwrap_or(if is_list(name) { first(value) } else { value }));
        }
        format!("{scheme}://{login}{host}{path}?{}", query.finish())
    });
    Ok(urls.collect())
}

fn first(list: &str) -> &str {
    list.split(',').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `host:port` for each host. A socket is its path.
    fn hosts(url: &str) -> Vec<String> {
        let all = parse(url).unwrap();
        let shown = all.iter().map(|host| match host.get_socket() {
            Some(socket) => format!("{}:{}", socket.display(), host.get_port()),
            None => format!("{}:{}", host.get_host(), host.get_port()),
        });
        shown.collect()
    }

    #[test]
    fn a_url_has_the_hosts_and_ports_that_libpq_reads() {
        for (url, expected) in [
            ("postgres://u:pw@h1:5433/db", &["h1:5433"][..]),
            ("postgres://u:pw@h1:5433,h2:5434/db?target_session_attrs=read-write", &["h1:5433", "h2:5434"]),
            ("postgresql://h1:1,h2:2,h3:3", &["h1:1", "h2:2", "h3:3"]),
            ("postgres:///db?host=h1,h2&port=5433,5434", &["h1:5433", "h2:5434"]),
            ("postgres:///db?host=h1,h2&port=5433", &["h1:5433", "h2:5433"]),
            ("postgres://u@h1,h2/db?port=5433", &["h1:5433", "h2:5433"]),
            ("postgres://u@ignored/db?host=h1,h2&port=1,2", &["h1:1", "h2:2"]),
            ("postgres://u@h1:1,h2:2/db?hostaddr=10.0.0.1,10.0.0.2", &["10.0.0.1:1", "10.0.0.2:2"]),
            ("postgres://u@[::1]:5433,[2001:db8::2]:5434/db", &["[::1]:5433", "[2001:db8::2]:5434"]),
            ("postgres://u@%2Frun%2Fpg:5433/db", &["/run/pg:5433"]),
            ("postgres:///db?host=/run/a,/run/b&port=1,2", &["/run/a:1", "/run/b:2"]),
            ("postgres://u:a,b@h1:1,h2:2/db", &["h1:1", "h2:2"]),
            ("postgres://h1:1/db?target_session_attrs=primary", &["h1:1"]),
        ] {
            assert_eq!(hosts(url), expected, "{url}");
        }
    }

    #[test]
    fn each_host_has_the_other_settings_of_the_url() {
        let url = "postgres://keys:p%40s+s@h1:1,h2:2/db?application_name=a+b%26c&options=-csearch_path%3Dkeys&sslmode=disable";
        for (host, port) in parse(url).unwrap().iter().zip([1, 2]) {
            let shown = format!("{host:?}");
            assert_eq!((host.get_username(), host.get_database(), host.get_port()), ("keys", Some("db"), port));
            assert_eq!(host.get_application_name(), Some("a b&c"));
            assert_eq!(host.get_options(), Some("-csearch_path=keys"));
            assert!(shown.contains("p@s+s") && shown.contains("Disable"), "the password and the mode");
        }
    }

    #[test]
    fn a_url_that_cannot_mean_the_primary_is_an_error_without_its_password() {
        for (url, expected) in [
            ("postgres://u:secret@h1,h2/db?target_session_attrs=any", "must be `read-write` or `primary`"),
            ("postgres://u:secret@h1/db?target_session_attrs=standby", "must be `read-write` or `primary`"),
            ("postgres://u:secret@h1/db?target_session_attr=primary", "unknown parameter"),
            ("postgres://u:secret@h1,h2,h3/db?port=1,2", "3 hosts need 1 or 3 ports"),
            ("postgres://u:secret@h1/db?port=1,2", "lists of different lengths"),
            ("postgres://u:secret@h1,h2/db?host=h1,h2,h3", "3 hosts need 1 or 3 ports"),
            ("postgres://u:secret@h1,,h2/db", "an empty host"),
            ("postgres://u:secret@h1,:5432/db", "an empty host"),
            ("postgres://u:secret@/db?host=h1,", "an empty host"),
            ("postgres://u:1,secret/x@h1,h2/db", "write it as %2F"),
            ("postgres://u:secret@h1:1,h2:x/db", "port"),
        ] {
            let error = parse(url).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(matches!(error, sqlx::Error::Configuration(_)), "{error:?}");
            assert!(text.contains(expected) && !text.contains("secret"), "{url}: {text}");
        }
    }
}
