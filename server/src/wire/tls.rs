//! TLS, by rustls with ring.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// What a client that starts with TLS right away has to name as its protocol.
const ALPN: &[u8] = b"postgresql";

/// Why TLS cannot be offered. The server does not start then.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {}: {source}", path.display())]
    Pem {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate's file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("cannot use the certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// TLS as the server offers it.
#[derive(Clone)]
pub struct Tls {
    /// After an SSLRequest.
    pub acceptor: TlsAcceptor,
    /// For clients that start with TLS right away.
    pub direct_acceptor: TlsAcceptor,
    /// The certificate chain, PEM, for channel binding.
    pub certificate_pem: Arc<[u8]>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// A file cannot be read, or the two do not go together.
    pub fn load(files: &TlsFiles) -> Result<Tls, TlsError> {
        let certificates = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|source| pem_error(&files.certificate, source))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| pem_error(&files.key, source))?;
        let pem = std::fs::read(&files.certificate)
            .map_err(|source| TlsError::Io { path: files.certificate.clone(), source })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        let mut direct = config.clone();
        direct.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Tls {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            direct_acceptor: TlsAcceptor::from(Arc::new(direct)),
            certificate_pem: pem.into(),
        })
    }
}

fn pem_error(path: &Path, source: rustls::pki_types::pem::Error) -> TlsError {
    TlsError::Pem { path: path.to_owned(), source }
}
