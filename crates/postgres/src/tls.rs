//! TLS as libpq's `sslmode` defines it (PostgreSQL manual, 34.19 "SSL Support"), by rustls with the `ring` provider named explicitly:
//! nothing depends on a process-wide default.
//!
//! Differs from libpq in one point: `verify-full` wants the host as the certificate's subjectAltName and does not fall back to its
//! common name, which rustls does not read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::dsn::{Dsn, SslMode};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The authorities cannot be read.
    #[error(
        "the certificate authorities in {path} cannot be read: {reason}; name a PEM file by sslrootcert"
    )]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// rustls refuses its own provider.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] Error),
}

/// What makes connections encrypted as the DSN asks.
pub(crate) fn connector(dsn: &Dsn) -> Result<MakeRustlsConnect, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let trust: Arc<dyn ServerCertVerifier> = match dsn.authorities() {
        Some(path) => Arc::new(Authorities::read(&path, dsn.ssl_mode, algorithms)?),
        None => Arc::new(Anyone(algorithms)),
    };
    let config = configure(provider, trust)?;
    Ok(MakeRustlsConnect::new(config))
}

fn configure(
    provider: Arc<CryptoProvider>,
    trust: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, Error> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth())
}

/// Whether a certificate was refused only for being an authority's. rustls has no variant for it and passes webpki's own error on.
fn is_authoritys(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// `prefer` and `require`: encrypted, whoever answers.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // Who does not look at the certificate gains nothing from its signature, and old certificates that OpenSSL takes would be refused.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// `verify-ca` and `verify-full`, and `require` with a file of authorities.
struct Authorities {
    roots: RootCertStore,
    /// The certificates themselves: PostgreSQL's manual shows self-signed servers, whose own certificate is then the authority.
    certificates: Vec<CertificateDer<'static>>,
    checks_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Authorities {
    fn read(
        path: &Path,
        mode: SslMode,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, TlsSetupError> {
        let fault = |reason: String| TlsSetupError::Authorities {
            path: path.to_owned(),
            reason,
        };
        let read = rustls_native_certs::load_certs_from_paths(Some(path), None);
        if let Some(error) = read.errors.first() {
            return Err(fault(error.to_string()));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(read.certs.iter().cloned());
        if roots.is_empty() {
            return Err(fault("it holds no certificate".to_owned()));
        }
        Ok(Self {
            roots,
            certificates: read.certs,
            checks_name: mode == SslMode::VerifyFull,
            algorithms,
        })
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("certificates", &self.certificates.len())
            .field("checks_name", &self.checks_name)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let signed = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        match signed {
            // OpenSSL takes a self-signed server's certificate as its own authority, as PostgreSQL's manual shows it; webpki refuses
            // it for being an authority's. One that the operator named byte for byte is what was asked for.
            Err(error)
                if is_authoritys(&error) && self.certificates.contains(&certificate.clone()) => {}
            other => {
                other?;
            }
        }
        if self.checks_name {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
