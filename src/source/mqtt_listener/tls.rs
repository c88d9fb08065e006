//! The listener's certificate and key, from PEM files, for rustls with the ring provider.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

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
    #[error("{certificate} and {key} cannot be used: {source}")]
    Unusable {
        certificate: String,
        key: String,
        #[source]
        source: rustls::Error,
    },
}

/// What the listener shows to devices. Clients are told apart by their passwords, not by certificates.
pub(super) fn server(certificate: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, Error> {
    let pem = |file: &Path| {
        let file = file.display().to_string();
        move |source| Error::Pem { file, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(pem(certificate))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem(certificate))?;
    if chain.is_empty() {
        return Err(Error::NoCertificate { file: certificate.display().to_string() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    let unusable = |source| Error::Unusable {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    Ok(Arc::new(server))
}
