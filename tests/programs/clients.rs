//! Runs the snippets of the three products' documents, each with its own client, against the
//! product's example.
//!
//! They are in `clients/*.md`, with the documents' hosts and placeholders. A test inserts a host
//! and a key, and where the document warns of a mistake, the mistake. Python is `python3`, or the
//! program that `PYTHON` names; it needs `requests`.

#[path = "clients/wire.rs"]
mod wire;

use std::{
    env, fs,
    process::{Command, Output},
};

use crate::example::Example;
use serde_json::{Value, json};
use wire::Wire;

struct Document {
    text: &'static str,
    host: &'static str,
    /// The document's placeholder for a key.
    placeholder: &'static str,
    /// The other place of the key.
    variable: &'static str,
    /// The product of the document.
    example: &'static str,
}

#[derive(Clone, Copy)]
enum Client {
    Curl,
    Python,
    Node,
    Php,
}

/// A running example, and the client that calls it as documented.
struct Product {
    document: Document,
    client: Client,
    example: Example,
}

macro_rules! clients {
    ($($product:ident)*) => {$(
        mod $product {
            use super::Client;

            #[test]
            #[ignore = "needs curl"]
            fn answers_curl_as_its_document_says() {
                super::$product(Client::Curl);
            }

            #[test]
            #[ignore = "needs python3 with requests"]
            fn answers_python_requests_as_its_document_says() {
                super::$product(Client::Python);
            }

            #[test]
            #[ignore = "needs node"]
            fn answers_node_fetch_as_its_document_says() {
                super::$product(Client::Node);
            }

            #[test]
            #[ignore = "needs php with curl"]
            fn answers_php_curl_as_its_document_says() {
                super::$product(Client::Php);
            }
        }
    )*};
}

clients!(hozip h0p hopx);

fn hozip(client: Client) {
    let hozip = Product::start(HOZIP, client);
    let (groups, create) = (hozip.snippet("Groups"), hozip.snippet("Create a link"));
    for account in ["account", "limited"] {
        let answer = json!({ "account": account, "groups": [{ "id": 1, "name": "Main" }] });
        assert_eq!(hozip.json(&groups, account), (200, answer));
        let bearer = groups.replace("Token ", "Bearer ");
        assert_eq!(hozip.call(&bearer, Some(account)).0, 401, "Token, not Bearer");
    }
    assert_eq!(hozip.call(&create, Some("account")).0, 201);
    assert_eq!(hozip.call(&create, Some("limited")).0, 403);
    for snippet in [groups, create, hozip.snippet("Without a key")] {
        assert_eq!(hozip.call(&snippet, None).0, 401);
    }
    hozip.example.stop();
}

fn h0p(client: Client) {
    let h0p = Product::start(H0P, client);
    let (list, create) = (h0p.snippet("List short links"), h0p.snippet("Create a short link"));
    for (snippet, method) in [(&list, "GET"), (&create, "POST")] {
        for (key, by) in [("user", "alice"), ("admin", "Bot")] {
            let answer = json!({ "organization": "org_a", "resource": "shortLinks", "method": method, "by": by });
            assert_eq!(h0p.json(snippet, key), (200, answer));
        }
        assert_eq!(h0p.call(snippet, Some("stats")).0, 403, "without the permission");
        assert_eq!(h0p.call(snippet, Some("other")).0, 403, "another organization's");
        let wrong_header = snippet.replace("x-api-key", "Authorization");
        assert_eq!(h0p.call(&wrong_header, Some("admin")).0, 401);
        assert_eq!(h0p.call(snippet, None).0, 401);
    }
    assert_eq!(h0p.call(&h0p.snippet("Without a key"), None).0, 401);
    h0p.example.stop();
}

fn hopx(client: Client) {
    let hopx = Product::start(HOPX, client);
    let unauthorized = (401, r#"{"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}"#.to_owned());
    let forbidden = (403, r#"{"error": "Forbidden", "code": "PERMISSION_DENIED"}"#.to_owned());
    let complete = hopx.snippet("Complete Request");
    let lists = ["X-API-Key", "Authorization: Bearer", "Environment Variables"].map(|heading| hopx.snippet(heading));
    for list in &lists {
        for key in ["live", "limited"] {
            assert_eq!(hopx.json(list, key), (200, json!({ "organization": "acme", "sandboxes": [] })));
        }
    }
    let (status, made) = hopx.json(&complete, "live");
    assert_eq!((status, &made["template_id"]), (201, &json!("52")));
    assert_eq!(hopx.call(&complete, Some("limited")), forbidden);
    for snippet in lists.iter().chain([&complete]) {
        for key in [Some("test"), Some("foreign"), None] {
            assert_eq!(hopx.call(snippet, key), unauthorized, "{key:?}");
        }
    }
    assert_eq!(hopx.call(&hopx.snippet("Without a key"), None), unauthorized);
    hopx.example.stop();
}

const HOZIP: Document = Document {
    text: include_str!("clients/hozip.md"),
    host: "https://hozip.com",
    placeholder: "YOUR_API_KEY",
    variable: "HOZIP_API_KEY",
    example: "token",
};

const H0P: Document = Document {
    text: include_str!("clients/h0p.md"),
    host: "https://api.h0p.co",
    placeholder: "YOUR_API_KEY",
    variable: "H0P_API_KEY",
    example: "x_api_key",
};

const HOPX: Document = Document {
    text: include_str!("clients/hopx.md"),
    host: "https://api.hopx.dev",
    placeholder: "your_api_key_here",
    variable: "HOPX_API_KEY",
    example: "either",
};

impl Client {
    fn language(self) -> &'static str {
        match self {
            Self::Curl => "sh",
            Self::Python => "python",
            Self::Node => "js",
            Self::Php => "php",
        }
    }

    /// The program, and the name of the file that it runs: Node allows top-level `await` in a
    /// module only.
    fn program(self) -> (String, &'static str) {
        match self {
            Self::Curl => ("bash".to_owned(), "snippet.sh"),
            Self::Python => (env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned()), "snippet.py"),
            Self::Node => ("node".to_owned(), "snippet.mjs"),
            Self::Php => ("php".to_owned(), "snippet.php"),
        }
    }

    fn prints(self, code: &str) -> bool {
        match self {
            Self::Curl => true,
            Self::Python => code.contains("print("),
            Self::Node => code.contains("console.log("),
            Self::Php => code.contains("echo "),
        }
    }
}

impl Product {
    fn start(document: Document, client: Client) -> Self {
        let example = Example::start(document.example);
        Self { document, client, example }
    }

    /// Returns the client's snippet under a heading.
    fn snippet(&self, heading: &str) -> String {
        let language = self.client.language();
        let between = |text: &'static str, start: &str, end: &str| {
            let (_, text) = text.split_once(start).unwrap_or_else(|| panic!("no {language} under {heading}"));
            text.split(end).next().unwrap()
        };
        let section = between(self.document.text, &format!("\n## {heading}\n"), "\n## ");
        between(section, &format!("\n```{language}\n"), "\n```\n").to_owned()
    }

    /// Runs a snippet with the named key, or unchanged, without a key. Returns the status and body
    /// of the response.
    #[track_caller]
    fn call(&self, snippet: &str, key: Option<&str>) -> (u16, String) {
        let key = key.map(|name| self.example.keys[name].as_str());
        let wire = Wire::to(&self.example.url);
        let code = snippet.replace(self.document.host, &wire.url);
        assert!(!code.contains("https://"), "it would leave this machine: {code}");
        let output = self.run(&code.replace(self.document.placeholder, key.unwrap_or(self.document.placeholder)), key);
        let errors = String::from_utf8_lossy(&output.stderr);
        let exchange = wire.carried().unwrap_or_else(|| panic!("no request was sent: {errors}"));
        assert_eq!(exchange.request.matches(" HTTP/1.1\r\n").count(), 1, "{}", exchange.request);
        assert!(key.is_none_or(|key| exchange.request.contains(key)), "{}", exchange.request);

        let (head, body) = exchange.response.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(status == 401, head.contains("\r\nwww-authenticate: "), "{head}");
        let raises = status >= 400 && code.contains("raise_for_status()");
        assert_eq!(!raises, output.status.success(), "{errors}");
        if raises {
            assert!(errors.contains(&format!("HTTPError: {status} Client Error")), "{errors}");
        } else {
            self.assert_printed(&code, body, &String::from_utf8_lossy(&output.stdout));
        }
        (status, body.to_owned())
    }

    #[track_caller]
    fn json(&self, snippet: &str, key: &str) -> (u16, Value) {
        let (status, body) = self.call(snippet, Some(key));
        (status, serde_json::from_str(&body).unwrap())
    }

    fn run(&self, code: &str, key: Option<&str>) -> Output {
        let (program, file) = self.client.program();
        let file = self.example.folder().path().join(file);
        fs::write(&file, code).unwrap();
        let mut command = Command::new(&program);
        command.arg(file).env("no_proxy", "127.0.0.1").env_remove(self.document.variable);
        command.envs(key.map(|key| (self.document.variable, key)));
        command.output().unwrap_or_else(|error| panic!("{program}: {error}; install it"))
    }

    /// Each client formats JSON in its own way, but prints texts unchanged.
    #[track_caller]
    fn assert_printed(&self, code: &str, body: &str, printed: &str) {
        let prints = self.client.prints(code);
        assert_eq!(prints, !printed.is_empty(), "{printed}");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {body}"));
        for text in body.as_object().unwrap().values().filter_map(Value::as_str) {
            assert!(!prints || printed.contains(text), "{text:?} is not in {printed}");
        }
    }
}
