//! Modbus/TCP Security: a TLS connection on which both sides show certificates.
//!
//! In come PEM files; out goes what rustls needs for a connection. The files are read anew for each
//! connection, so that renewed certificates count without a restart; they are small, local and read once
//! at the start already. The device's certificate must be signed by `ca` and carry the expected name. What
//! Davy may do there is the device's decision, by the role in Davy's certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::address::Identity;

/// Why TLS cannot be spoken; names the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{file}: {source}")]
    Pem {
        key: &'static str,
        file: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{file} holds no certificate")]
    NoCertificate { key: &'static str, file: String },
    #[error("{file} cannot be used: {source}")]
    Unusable {
        key: &'static str,
        file: String,
        #[source]
        source: rustls::Error,
    },
    #[error("{0:?} is not a name that a certificate can carry")]
    Name(String),
}

impl Fault {
    /// The key of the configuration that is to be looked at.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Pem { key, .. } | Self::NoCertificate { key, .. } | Self::Unusable { key, .. } => key,
            Self::Name(_) => "server_name",
        }
    }
}

/// What Davy shows, whom it believes, and the name it expects.
pub(super) fn client(identity: &Identity) -> Result<(Arc<ClientConfig>, ServerName<'static>), Fault> {
    let unusable = |key, file: &Path| {
        let file = file.display().to_string();
        move |source| Fault::Unusable { key, file, source }
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates("ca", &identity.ca)? {
        roots.add(authority).map_err(unusable("ca", &identity.ca))?;
    }
    let chain = certificates("certificate", &identity.certificate)?;
    let private = PrivateKeyDer::from_pem_file(&identity.key).map_err(pem("key", &identity.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable("certificate", &identity.certificate))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, private)
        .map_err(unusable("key", &identity.key))?;
    let name = identity.server_name.clone();
    let name = ServerName::try_from(name.clone()).map_err(|_| Fault::Name(name))?;
    Ok((Arc::new(config), name))
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found = CertificateDer::pem_file_iter(file).map_err(pem(key, file))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(pem(key, file))?;
    if found.is_empty() {
        return Err(Fault::NoCertificate { key, file: file.display().to_string() });
    }
    Ok(found)
}

fn pem(key: &'static str, file: &Path) -> impl Fn(rustls::pki_types::pem::Error) -> Fault + use<> {
    let file = file.display().to_string();
    move |source| Fault::Pem { key, file: file.clone(), source }
}
