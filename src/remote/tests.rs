use std::process::Command;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[test]
fn a_secret_is_never_printed_and_a_missing_one_is_told_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cr3t\n").unwrap();
    let place = SecretPlace::File(path.clone());
    let read = place.read().unwrap();
    assert_eq!(read.expose(), "s3cr3t");
    assert!(!format!("{read:?}{place:?}").contains("s3cr3t"));

    let mut problems = Problems::in_file("davy.toml");
    let at = Key::of("influxdb");
    let file = path.to_str().map(ToOwned::to_owned);
    assert_eq!(secret(&mut problems, &at, "token", file.clone(), None), Some(Some(place)));
    assert_eq!(secret(&mut problems, &at, "token", None, None), Some(None));
    assert!(problems.is_empty());
    assert_eq!(secret(&mut problems, &at, "token", file, Some("X".into())), None);
    assert_eq!(secret(&mut problems, &at, "token", Some("/no/such/file".into()), None), None);
    assert_eq!(secret(&mut problems, &at, "token", None, Some("DAVY_TEST_NO_SUCH_VARIABLE".into())), None);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "davy.toml: influxdb.token_env: token_file is given too; leave one of them");
    assert!(told[1].starts_with("davy.toml: influxdb.token_file: secret file /no/such/file: "), "{told:?}");
    assert!(told[2].contains("environment variable DAVY_TEST_NO_SUCH_VARIABLE is not set"), "{told:?}");
}

#[test]
fn an_address_is_http_or_https_and_holds_no_password() {
    let mut problems = Problems::default();
    let url = address(&mut problems, Key::of("url"), "https://influx.mine:8086").unwrap();
    assert_eq!(host(&url), "influx.mine:8086");
    assert_eq!(host(&Url::parse("http://a/hook?key=secret").unwrap()), "a:80");
    assert!(problems.is_empty());
    for wrong in ["influx.mine:8086", "ftp://a", "http://", "http://me:pw@a", "10.0.0.1"] {
        assert_eq!(address(&mut problems, Key::of("url"), wrong), None, "{wrong}");
    }
    assert_eq!(problems.len(), 5);
    assert!(!problems.iter().any(|problem| problem.message.contains("pw")), "the password was repeated");
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let asks = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, NOW)
    };
    assert_eq!(asks("7"), Some(Duration::from_secs(7)));
    assert_eq!(asks("Fri, 15 Jan 2027 08:00:30 GMT"), Some(Duration::from_secs(30)));
    assert_eq!(asks("Fri, 15 Jan 2027 07:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(asks("soon"), None);
    assert_eq!(asks("-3"), None);
    assert_eq!(retry_after(&HeaderMap::new(), NOW), None);
}

#[test]
fn an_answer_cannot_forge_a_log_line() {
    assert_eq!(one_line(" no\r\nERROR all is lost\u{7} ", 100), "no  ERROR all is lost");
    assert_eq!(one_line("瓦斯超限", 7), "瓦斯");
}

/// A site with its own certificate authority: trusted when it is configured, refused when it is not.
#[tokio::test]
async fn https_trusts_the_configured_authority_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let make = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mine-authority -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out leaf.csr
        echo subjectAltName=DNS:localhost > names
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out leaf.pem";
    match Command::new("sh").args(["-c", make]).current_dir(folder.path()).output() {
        Ok(made) if made.status.success() => {}
        Ok(_) | Err(_) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: openssl is not installed");
            return;
        }
        other => panic!("openssl is needed for this test: {other:?}"),
    }
    let url = serve_tls(&file("leaf.pem"), &file("key.pem")).await;

    let timeout = Duration::from_secs(5);
    let trusting = client(&url, Some(&file("ca.pem")), timeout).unwrap();
    assert_eq!(trusting.get(url.clone()).send().await.unwrap().status(), 204);

    let stranger = client(&Url::parse("http://localhost").unwrap(), None, timeout).unwrap();
    let error = chain(&stranger.get(url.clone()).send().await.unwrap_err());
    assert!(error.contains("certificate"), "{error}");

    let error = client(&url, Some(&file("key.pem")), timeout).unwrap_err().to_string();
    assert!(error.contains("key.pem") && error.contains("holds no certificate"), "{error}");
}

async fn serve_tls(certificate: &Path, key: &Path) -> Url {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
                    drop(stream.shutdown().await);
                }
            });
        }
    });
    Url::parse(&format!("https://localhost:{port}")).unwrap()
}
