//! Client assertions: signed with a registered certificate, with one of a trusted authority, or federated.

use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use x509_parser::{certificate::X509Certificate, pem::Pem, prelude::FromDer as _};

use super::{
    identity::{Credential, Identity},
    refusal::Refusal,
};
use crate::web::Call;

#[derive(Deserialize)]
struct Head {
    alg: String,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
    x5c: Option<Chain>,
}

/// MSAL for Go sends a list, others one string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Chain {
    Many(Vec<String>),
    One(String),
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn list(&self) -> &[String] {
        match self {
            Self::One(audience) => std::slice::from_ref(audience),
            Self::Many(audiences) => audiences,
        }
    }
}

/// Whether `token` proves `identity`.
pub(crate) fn verify(
    identity: &Identity,
    token: &str,
    call: &Call,
    tenant: &str,
) -> Result<(), Refusal> {
    let federated: Vec<_> = identity.credentials.iter().filter_map(federation).collect();
    if federated
        .iter()
        .any(|(.., registered)| *registered == Some(token))
    {
        return Ok(());
    }
    let mut parts = token.split('.');
    let (Some(head), Some(body), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::Malformed(
            "JWT must consist of Header, Payload, and Signature".into(),
        ));
    };
    let claims: Claims = decode(body)?;
    in_time(&claims)?;
    let issuer = claims.iss.clone().unwrap_or_default();
    if !issuer.eq_ignore_ascii_case(&identity.client_id) {
        return federate(&federated, &claims, &issuer);
    }
    if claims.sub.as_deref() != Some(&issuer) {
        return Err(Refusal::Identifier);
    }
    let audiences = claims.aud.as_ref().map(Audience::list).unwrap_or_default();
    let base = call.base();
    let mine = [
        format!("{base}/{tenant}/oauth2/v2.0/token"),
        format!("{base}/{tenant}/oauth2/token"),
        format!("{base}/{tenant}/v2.0"),
        format!("{base}/{tenant}/"),
    ];
    if !audiences.iter().any(|audience| mine.contains(audience)) {
        return Err(Refusal::Audience(audiences.join(",")));
    }
    let head: Head = decode(head)?;
    let certificate = certificate(identity, &head)?;
    signed(
        &head.alg,
        &certificate,
        &token[..token.len() - signature.len() - 1],
        signature,
    )
}

fn federation(credential: &Credential) -> Option<(&str, &str, Option<&str>)> {
    match credential {
        Credential::Federated {
            issuer,
            subject,
            token,
        } => Some((issuer, subject, token.as_deref())),
        Credential::Secret(_)
        | Credential::Certificate { .. }
        | Credential::Issued { .. }
        | Credential::Managed { .. } => None,
    }
}

fn federate(
    known: &[(&str, &str, Option<&str>)],
    claims: &Claims,
    issuer: &str,
) -> Result<(), Refusal> {
    let known: Vec<_> = known
        .iter()
        .filter(|(known, ..)| *known == issuer)
        .collect();
    if known.is_empty() {
        return Err(Refusal::Issuer(issuer.into()));
    }
    let subject = claims.sub.clone().unwrap_or_default();
    // Where the token's text is registered only that text is good.
    if !known
        .iter()
        .any(|(_, known, registered)| *known == subject && registered.is_none())
    {
        return Err(Refusal::Subject(subject));
    }
    let audiences = claims.aud.as_ref().map(Audience::list).unwrap_or_default();
    if audiences
        .iter()
        .any(|audience| audience == "api://AzureADTokenExchange")
    {
        Ok(())
    } else {
        Err(Refusal::FederatedAudience(audiences.join(",")))
    }
}

fn in_time(claims: &Claims) -> Result<(), Refusal> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let skew = 300.0;
    match (claims.exp, claims.nbf) {
        (None, _) => Err(Refusal::Time("The 'exp' claim is missing.".into())),
        (Some(exp), _) if exp + skew < now => {
            Err(Refusal::Time(format!("It expired at {exp}; it is {now}.")))
        }
        (_, Some(nbf)) if nbf - skew > now => Err(Refusal::Time(format!(
            "It is valid from {nbf}; it is {now}."
        ))),
        (Some(_), _) => Ok(()),
    }
}

fn decode<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, Refusal> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| Refusal::Malformed(error.to_string()))
}

/// The DER of the certificate that the header names, if the identity has it.
fn certificate(identity: &Identity, head: &Head) -> Result<Vec<u8>, Refusal> {
    let chain = match &head.x5c {
        None => Vec::new(),
        Some(Chain::One(one)) => vec![one.clone()],
        Some(Chain::Many(many)) => many.clone(),
    };
    let chain: Vec<Vec<u8>> = chain
        .iter()
        .filter_map(|text| STANDARD.decode(text).ok())
        .collect();
    for credential in &identity.credentials {
        match credential {
            Credential::Certificate { pem } => {
                if let Some(der) = first_block(pem)
                    && names(head, &der)
                {
                    return Ok(der);
                }
            }
            Credential::Issued { authority, subject } => {
                let authority = first_block(authority);
                if let (Some(leaf), Some(authority)) = (chain.first(), authority)
                    && issued(&chain, &authority, subject)
                {
                    return Ok(leaf.clone());
                }
            }
            Credential::Secret(_) | Credential::Federated { .. } | Credential::Managed { .. } => {}
        }
    }
    let thumbprint = head
        .x5t_s256
        .as_ref()
        .or(head.x5t.as_ref())
        .cloned()
        .unwrap_or_default();
    Err(Refusal::Signature(format!(
        "The key was not found., Thumbprint of key used by client: '{thumbprint}'"
    )))
}

fn first_block(pem: &str) -> Option<Vec<u8>> {
    let mut blocks = Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
    blocks
        .find(|block| block.label == "CERTIFICATE")
        .map(|block| block.contents)
}

/// Whether a thumbprint in the header is this certificate's.
fn names(head: &Head, der: &[u8]) -> bool {
    let same = |thumbprint: &Option<String>, algorithm| {
        let bytes = thumbprint.as_ref().and_then(|text| {
            URL_SAFE_NO_PAD
                .decode(text)
                .or_else(|_| URL_SAFE.decode(text))
                .ok()
        });
        bytes.is_some_and(|bytes| bytes == digest::digest(algorithm, der).as_ref())
    };
    same(&head.x5t, &digest::SHA1_FOR_LEGACY_USE_ONLY) || same(&head.x5t_s256, &digest::SHA256)
}

/// Whether each certificate of the chain is signed by the next, the last by the authority (or it is the authority).
fn issued(chain: &[Vec<u8>], authority: &[u8], subject: &str) -> bool {
    let with_authority = chain
        .iter()
        .map(Vec::as_slice)
        .filter(|der| *der != authority)
        .chain([authority]);
    let parsed: Vec<_> = with_authority
        .filter_map(|der| X509Certificate::from_der(der).ok())
        .collect();
    let name = parsed.first().and_then(|(_, leaf)| {
        let name = leaf.subject().iter_common_name().next()?;
        name.as_str().ok()
    });
    name == Some(subject)
        && parsed.windows(2).all(|pair| {
            pair[0]
                .1
                .verify_signature(Some(pair[1].1.public_key()))
                .is_ok()
        })
}

fn signed(algorithm: &str, der: &[u8], message: &str, signature: &str) -> Result<(), Refusal> {
    let algorithm = match algorithm {
        "RS256" => Algorithm::RS256,
        "PS256" => Algorithm::PS256,
        other => {
            return Err(Refusal::Signature(format!(
                "The algorithm '{other}' is not supported."
            )));
        }
    };
    let bad = |reason: &dyn std::fmt::Display| Refusal::Signature(reason.to_string());
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| bad(&error))?;
    if !certificate.validity().is_valid() {
        return Err(bad(&"The certificate is not within its valid time range."));
    }
    let key = DecodingKey::from_rsa_der(&certificate.public_key().subject_public_key.data);
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm) {
        Ok(true) => Ok(()),
        Ok(false) => Err(bad(
            &"The key was found, but use of the key to verify the signature failed.",
        )),
        Err(error) => Err(bad(&error)),
    }
}
