//! Tests that TLS verifies the server.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tower_api_key::{
    KeyRegistry, KeyStore,
    store::{ChangeFeed, PostgresStore},
};

use crate::{database::Postgres, of_alice};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that requires TLS, with a certificate for `name`.
struct Encrypted {
    postgres: Postgres,
    folder: TempDir,
}

impl Encrypted {
    fn start(ca: &Ca, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = |path: &Path, mode| {
            Postgres::own(path);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        own(folder.path(), 0o755);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, ca).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            own(&path, 0o600);
            path.display().to_string()
        };
        let certificate = format!("ssl_cert_file='{}'", write("server.crt", &certificate.pem()));
        let key = format!("ssl_key_file='{}'", write("server.key", &key.serialize_pem()));
        let hba = format!("hba_file='{}'", write("pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n"));
        let postgres = Postgres::start(&["ssl=on", &certificate, &key, &hba]);
        Self { postgres, folder }
    }

    fn file_of(&self, ca: &Ca, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, ca.pem()).unwrap();
        path
    }

    async fn open(&self, host: &str, settings: &str) -> Result<PostgresStore, sqlx::Error> {
        PostgresStore::open(format!("postgres://postgres@{host}:{}/postgres?{settings}", self.postgres.port)).await
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn verify_full_speaks_to_the_server_that_was_asked_for_and_to_nobody_else() {
    let (ours, theirs) = (ca(), ca());
    let server = Encrypted::start(&ours, "127.0.0.1");
    let root = |ca, name| server.file_of(ca, name).display().to_string();
    let (ours, theirs) = (root(&ours, "ours.pem"), root(&theirs, "theirs.pem"));

    let store = server.open("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={ours}")).await.unwrap();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    assert!(store.find(&[1; 32].into()).await.unwrap().is_some());
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    store.revoke(&"k".into(), None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap().len(), 1);

    for (host, settings) in [
        // Another CA signed its certificate, and the system's CAs do not trust that CA.
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={theirs}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={theirs}")),
        ("127.0.0.1", "sslmode=verify-full".to_owned()),
        // The certificate is for another name.
        ("localhost", format!("sslmode=verify-full&sslrootcert={ours}")),
    ] {
        let error = server.open(host, &settings).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{host} {settings}: {error}");
    }
    server.open("localhost", &format!("sslmode=verify-ca&sslrootcert={ours}")).await.unwrap();
    server.open("127.0.0.1", "sslmode=require").await.unwrap();
    let plain = server.open("127.0.0.1", "sslmode=disable").await.unwrap_err();
    assert!(plain.to_string().contains("no encryption"), "{plain}");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let postgres = Postgres::start(&[]);
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = PostgresStore::open(format!("{}?sslmode={mode}", postgres.url())).await.unwrap_err();
        assert!(matches!(error, sqlx::Error::Tls(_)), "{mode}: {error}");
    }
}
