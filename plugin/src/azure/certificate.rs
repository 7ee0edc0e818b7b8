//! A service principal's certificate, and the assertions that it signs.
//!
//! Source: <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>. RS256 with the
//! SHA-1 thumbprint is what the stock plugin's library sends.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{digest, rsa::KeyPair, signature::KeyPair as _};
use azure_core::{error::ErrorKind, http::ClientMethodOptions};
use azure_identity::ClientAssertion;
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p12_keystore::Pkcs12Archive;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::Serialize;
use url::Url;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Entra takes assertions that live at most a day; the SDKs use ten minutes.
const LIFETIME: Duration = Duration::from_secs(600);
/// Clocks differ a little.
const SKEW: Duration = Duration::from_secs(60);

/// A key, its certificate, and those that vouch for it.
pub(super) struct Certificate {
    key: EncodingKey,
    leaf: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
}

impl Certificate {
    /// Reads PEM (key and certificates in any order) or PKCS#12, raw or in base64.
    pub(super) fn parse(bytes: &[u8], password: Option<&str>) -> Result<Self, String> {
        let (key, certificates) = if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
            from_pem(bytes)?
        } else {
            let text: Vec<u8> = bytes.iter().copied().filter(u8::is_ascii_graphic).collect();
            match BASE64_STANDARD.decode(text) {
                Ok(decoded) => from_pkcs12(&decoded, password)?,
                Err(_) => from_pkcs12(bytes, password)?,
            }
        };
        let pair = match &key {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err("its private key is not RSA, which is all that Entra takes".to_owned()),
        }
        .map_err(|_| "its private key is not an RSA key of at least 2048 bits".to_owned())?;
        let public = pair.public_key();
        let (mut leaf, chain) = certificates
            .into_iter()
            .partition::<Vec<_>, _>(|certificate| certifies(certificate, public.as_ref()));
        let leaf = leaf.drain(..).next().ok_or_else(|| {
            format!(
                "it has a private key and {} certificates, none of which is that key's",
                chain.len()
            )
        })?;
        Ok(Self {
            key: encoding_key(&key).map_err(|_| "its private key cannot be used".to_owned())?,
            leaf,
            chain,
        })
    }
}

fn encoding_key(key: &PrivateKeyDer<'_>) -> Result<EncodingKey, jsonwebtoken::errors::Error> {
    match key {
        PrivateKeyDer::Pkcs1(der) => Ok(EncodingKey::from_rsa_der(der.secret_pkcs1_der())),
        // jsonwebtoken unpacks PKCS#8 from PEM only.
        other => EncodingKey::from_rsa_pem(
            format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                BASE64_STANDARD.encode(other.secret_der())
            )
            .as_bytes(),
        ),
    }
}

fn certifies(certificate: &CertificateDer<'_>, key: &[u8]) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.public_key().subject_public_key.data.as_ref() == key)
}

type KeyAndCertificates = (PrivateKeyDer<'static>, Vec<CertificateDer<'static>>);

fn from_pem(bytes: &[u8]) -> Result<KeyAndCertificates, String> {
    let encrypted = b"ENCRYPTED PRIVATE KEY-----";
    if bytes
        .windows(encrypted.len())
        .any(|window| window == encrypted)
        || bytes.windows(15).any(|window| window == b"Proc-Type: 4,EN")
    {
        return Err(
            "its private key is encrypted, which is supported in PKCS#12 only: decrypt it \
                    with `openssl pkey` or convert both with `openssl pkcs12 -export`"
                .to_owned(),
        );
    }
    let certificates = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("a certificate in it is not PEM ({error})"))?;
    let key = PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|_| "it has no private key; expected key and certificate in one PEM".to_owned())?;
    Ok((key, certificates))
}

fn from_pkcs12(bytes: &[u8], password: Option<&str>) -> Result<KeyAndCertificates, String> {
    use p12_keystore::error::Error;
    let archive = Pkcs12Archive::from_pkcs12(bytes, password.unwrap_or_default()).map_err(|e| {
        match (e, password) {
            // The password is proved by the file's MAC.
            (Error::MacError(_), None) => {
                "it is protected by a password: set AZURE_CLIENT_CERTIFICATE_PASSWORD".to_owned()
            }
            (Error::MacError(_), Some(_)) => {
                "AZURE_CLIENT_CERTIFICATE_PASSWORD does not open it".to_owned()
            }
            (error, _) => format!("it is neither PEM nor PKCS#12 ({error})"),
        }
    })?;
    let key = archive.keys.first().ok_or("it has no private key")?;
    let key = PrivateKeyDer::Pkcs8(key.key.as_der().to_vec().into());
    let certificates = archive
        .certs
        .iter()
        .map(|entry| CertificateDer::from(entry.cert.as_der().to_vec()))
        .collect();
    Ok((key, certificates))
}

/// Signs a fresh assertion for every login.
pub(super) struct SignedAssertion {
    certificate: Certificate,
    client_id: String,
    audience: String,
    send_chain: bool,
}

impl SignedAssertion {
    pub(super) fn new(
        certificate: Certificate,
        authority: &Url,
        tenant: &str,
        client_id: &str,
        send_chain: bool,
    ) -> Self {
        let authority = authority.as_str().trim_end_matches('/');
        Self {
            certificate,
            client_id: client_id.to_owned(),
            audience: format!("{authority}/{tenant}/oauth2/v2.0/token"),
            send_chain,
        }
    }

    fn sign(&self, now: SystemTime) -> Result<String, jsonwebtoken::errors::Error> {
        let Certificate { key, leaf, chain } = &self.certificate;
        let mut header = Header::new(Algorithm::RS256);
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaf);
        header.x5t = Some(BASE64_URL_SAFE_NO_PAD.encode(thumbprint));
        header.x5c = self.send_chain.then(|| {
            std::iter::once(leaf)
                .chain(chain)
                .map(|certificate| BASE64_STANDARD.encode(certificate))
                .collect()
        });
        let seconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        };
        let claims = Claims {
            aud: &self.audience,
            iss: &self.client_id,
            sub: &self.client_id,
            jti: uuid::Uuid::new_v4().to_string(),
            nbf: seconds(now - SKEW),
            iat: seconds(now),
            exp: seconds(now + LIFETIME),
        };
        jsonwebtoken::encode(&header, &claims, key)
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: u64,
    iat: u64,
    exp: u64,
}

impl fmt::Debug for SignedAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedAssertion")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl ClientAssertion for SignedAssertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.sign(SystemTime::now())
            .map_err(|error| azure_core::Error::new(ErrorKind::Credential, error))
    }
}
