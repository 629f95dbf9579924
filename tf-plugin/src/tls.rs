//! AutoMTLS: a key made at start, and exactly one client certificate that is let in.
//!
//! The host's certificate is a CA certificate, which a chain verifier refuses as an end entity, and every chain
//! verifier would take more than this one certificate. So it is compared byte for byte. Nothing is written to disk.

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// Why no TLS could be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The host's certificate in `PLUGIN_CLIENT_CERT` is no PEM certificate.
    #[error("PLUGIN_CLIENT_CERT holds no PEM certificate: {0}")]
    ClientCertificate(#[source] rustls::pki_types::pem::Error),
    /// The server's own certificate could not be made.
    #[error("the server certificate could not be made: {0}")]
    OwnCertificate(#[source] rcgen::Error),
    /// The TLS library refused the settings.
    #[error("TLS could not be set up: {0}")]
    Settings(#[source] rustls::Error),
}

/// The server's side of AutoMTLS.
#[derive(Clone, Debug)]
pub struct AutoMtls {
    /// What connections are accepted with.
    pub config: Arc<ServerConfig>,
    /// The server's certificate, for the handshake line.
    pub certificate: CertificateDer<'static>,
}

/// Makes a P-256 key and certificate, and settings that accept only the client certificate given as PEM.
///
/// # Errors
/// The PEM text holds no certificate, or the key could not be made.
pub fn auto_mtls(client_pem: &str) -> Result<AutoMtls, TlsError> {
    let pinned = CertificateDer::from_pem_slice(client_pem.as_bytes()).map_err(TlsError::ClientCertificate)?;
    let (certificate, key) = self_signed().map_err(TlsError::OwnCertificate)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Pinned { certificate: pinned.into_owned(), provider: provider.clone() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Settings)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(vec![certificate.clone()], key)
        .map_err(TlsError::Settings)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the verifier; the host connects once, so nothing is lost.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(AutoMtls { config: Arc::new(config), certificate })
}

/// A self-signed P-256 certificate in the form that go-plugin hosts and plugins exchange.
pub(crate) fn self_signed() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    // A Go client looks at the alternative name only.
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "localhost");
    params.distinguished_name = name;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyAgreement,
        KeyUsagePurpose::KeyCertSign,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    // It is its own root, so it is marked as one, as go-plugin does.
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key)?.der().clone();
    Ok((certificate, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

/// Accepts one certificate, byte for byte. A signature is still checked: holding the certificate is not enough.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
