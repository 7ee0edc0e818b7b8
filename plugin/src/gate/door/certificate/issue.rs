//! Makes a certificate and the authority that signs it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::{Material, Names, check};

const NAME: &str = "stillpoint-gate";
/// How much the clocks of API servers may be behind, as a part of the lifetime: two hours of 90 days.
const BEHIND: u32 = 1000;
/// Authorities before this one that are still trusted.
const BEFORE: usize = 3;

/// A certificate for `names`, as of `now`. Of `before`, PEM of the authorities until now, those that can still matter are
/// kept.
pub(super) fn issue(
    names: &Names,
    now: SystemTime,
    lifetime: Duration,
    before: &[u8],
) -> Result<Material, Error> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let valid = |params: &mut CertificateParams| {
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now.saturating_sub(lifetime / BEHIND);
        params.not_after = epoch + now + lifetime;
    };

    let mut ca = CertificateParams::new(Vec::new())?;
    valid(&mut ca);
    // Authorities are told apart by their names.
    let name = format!("{NAME} authority {}", now.as_millis());
    ca.distinguished_name.push(DnType::CommonName, name);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let authority = ca.self_signed(&ca_key)?;

    let mut all = names.hosts.clone();
    all.extend(names.addresses.iter().map(ToString::to_string));
    let mut leaf = CertificateParams::new(all)?;
    valid(&mut leaf);
    leaf.distinguished_name.push(DnType::CommonName, NAME);
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;

    let mut authorities = authority.pem();
    let kept = check::certificates(before);
    let kept = kept.iter().filter(|other| !is_over(other, now));
    for other in kept.take(BEFORE) {
        authorities.push_str(&pem(other));
    }
    Ok(Material {
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
        authorities: authorities.into_bytes(),
    })
}

fn is_over(certificate: &CertificateDer<'_>, now: Duration) -> bool {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    check::validity(certificate).is_none_or(|(_, end)| end <= now)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
