//! Whether a certificate is what API servers will trust under the gate's names, and for how long.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::CertifiedKey,
};
use thiserror::Error;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{Material, Names};
use crate::gate::door::tls::Tls;

/// Why a certificate has to be replaced.
#[derive(Debug, Error)]
pub(in crate::gate::door) enum Unfit {
    #[error("{0}: no certificates in PEM")]
    NoCertificates(&'static str),
    #[error("tls.key: no private key in PEM")]
    NoKey,
    #[error("the key is not that of the certificate: {0}")]
    Key(#[source] rustls::Error),
    #[error("an authority cannot be used: {0}")]
    Authority(#[source] rustls::Error),
    #[error("the certificate is not for {0}")]
    Name(String),
    #[error("the certificate would not be trusted: {0}")]
    Untrusted(#[source] rustls::Error),
    #[error("less than a third of its life is left")]
    Old,
}

/// Reads certificate and key; they belong together.
pub(super) fn certified(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, Unfit> {
    let chain = certificates(certificate);
    if chain.is_empty() {
        return Err(Unfit::NoCertificates("tls.crt"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Unfit::NoKey)?;
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(Unfit::Key)
}

/// The certificate, if it can be served under `names` and need not be renewed yet.
pub(super) fn fit(material: &Material, names: &Names) -> Result<CertifiedKey, Unfit> {
    let certified = certified(&material.certificate, &material.key)?;
    trusted(&certified, &material.authorities, names)?;
    let validity = certified.cert.first().and_then(validity);
    let now = UnixTime::now().as_secs();
    let fresh = validity.is_some_and(|(start, end)| {
        let left = i64::try_from(now).map_or(0, |now| end.saturating_sub(now));
        left >= end.saturating_sub(start) / 3
    });
    if fresh {
        Ok(certified)
    } else {
        Err(Unfit::Old)
    }
}

/// Whether one who trusts `authorities` trusts it under all of `names`.
pub(super) fn trusted(
    certified: &CertifiedKey,
    authorities: &[u8],
    names: &Names,
) -> Result<(), Unfit> {
    let roots = Arc::new(roots(authorities)?);
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    let verifier = verifier.map_err(|_| Unfit::NoCertificates("ca.crt"))?;
    let Some((leaf, others)) = certified.cert.split_first() else {
        return Err(Unfit::NoCertificates("tls.crt"));
    };
    let hosts = names
        .hosts
        .iter()
        .map(|host| (host, ServerName::try_from(host.as_str())));
    for (host, name) in hosts {
        let name = name.map_err(|_| Unfit::Name(host.clone()))?;
        verify(&verifier, leaf, others, &name).map_err(|error| described(error, host))?;
    }
    for address in &names.addresses {
        let name = ServerName::IpAddress((*address).into());
        let host = address.to_string();
        verify(&verifier, leaf, others, &name).map_err(|error| described(error, &host))?;
    }
    Ok(())
}

fn verify(
    verifier: &WebPkiServerVerifier,
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> Result<(), rustls::Error> {
    let verified = verifier.verify_server_cert(leaf, others, name, &[], UnixTime::now());
    verified.map(drop)
}

fn described(error: rustls::Error, host: &str) -> Unfit {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Unfit::Name(host.to_owned()),
        other => Unfit::Untrusted(other),
    }
}

/// Authorities as one who trusts them holds them.
pub(in crate::gate::door) fn roots(pem: &[u8]) -> Result<RootCertStore, Unfit> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem) {
        roots.add(authority).map_err(Unfit::Authority)?;
    }
    if roots.is_empty() {
        return Err(Unfit::NoCertificates("ca.crt"));
    }
    Ok(roots)
}

/// All certificates in a PEM text.
pub(super) fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_slice_iter(pem);
    found.filter_map(Result::ok).collect()
}

/// From when and to when, in seconds of the Unix time.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

/// Whether there is one that has not come to its end.
pub(in crate::gate::door) fn is_served(tls: &Tls) -> Result<(), String> {
    let served = tls.certified().ok_or("there is none yet")?;
    let (_, end) = served
        .cert
        .first()
        .and_then(validity)
        .ok_or("it cannot be read")?;
    let now = UnixTime::now().as_secs();
    match u64::try_from(end).is_ok_and(|end| end > now) {
        true => Ok(()),
        false => Err("the one that is served has expired".to_owned()),
    }
}

/// The names that a certificate is for.
pub(super) fn names(pem: &[u8]) -> Names {
    let mut names = Names::default();
    let certificates = certificates(pem);
    let Some((_, leaf)) = certificates
        .first()
        .and_then(|leaf| parse_x509_certificate(leaf).ok())
    else {
        return names;
    };
    let Ok(Some(alternative)) = leaf.subject_alternative_name() else {
        return names;
    };
    for name in &alternative.value.general_names {
        match name {
            GeneralName::DNSName(host) => names.hosts.push((*host).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let sixteen = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                names.addresses.extend(four.or_else(|_| sixteen()).ok());
            }
            _ => {}
        }
    }
    names
}
