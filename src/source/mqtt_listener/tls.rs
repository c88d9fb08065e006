//! The listener's certificate and key and the authority of its clients, from PEM files, for rustls with the
//! ring provider.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// Why TLS cannot be offered; names the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{file}: {source}")]
    Pem {
        file: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{file} holds no certificate")]
    NoCertificate { file: String },
    #[error("{file} cannot be trusted for client certificates: {why}")]
    Authority { file: String, why: String },
    #[error("{certificate} and {key} cannot be used: {source}")]
    Unusable {
        certificate: String,
        key: String,
        #[source]
        source: rustls::Error,
    },
}

/// Who signs client certificates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    pub file: &'a Path,
    /// Nobody comes in without one.
    pub all: bool,
}

/// What the listener shows to devices, and asks of them. Without an authority clients are told apart by
/// their passwords alone.
pub(super) fn server(
    certificate: &Path,
    key: &Path,
    authority: Option<Authority<'_>>,
) -> Result<Arc<rustls::ServerConfig>, Error> {
    let pem = |file: &Path| {
        let file = file.display().to_string();
        move |source| Error::Pem { file, source }
    };
    let read = |file: &Path| {
        let list: Vec<_> =
            CertificateDer::pem_file_iter(file).map_err(pem(file))?.collect::<Result<_, _>>().map_err(pem(file))?;
        if list.is_empty() { Err(Error::NoCertificate { file: file.display().to_string() }) } else { Ok(list) }
    };
    let chain = read(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    let unusable = |source| Error::Unusable {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match authority {
        None => builder.with_no_client_auth(),
        Some(Authority { file, all }) => {
            let untrusted = |why: String| Error::Authority { file: file.display().to_string(), why };
            let mut roots = rustls::RootCertStore::empty();
            for root in read(file)? {
                roots.add(root).map_err(|error| untrusted(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if all { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| untrusted(error.to_string()))?)
        }
    };
    let server = builder.with_single_cert(chain, private).map_err(unusable)?;
    Ok(Arc::new(server))
}
