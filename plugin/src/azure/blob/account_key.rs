//! Signing with the account's key.

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{Method, header::AUTHORIZATION};
use object_store::{
    Error, Result,
    azure::{AzureAuthorizer, AzureCredential},
    client::{
        CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
    },
};

use super::ask::request;
use crate::azure::failure::Failure;

/// The signature of `text` by the key in `credential`, base64.
///
/// `object_store` shows a key's bytes to nobody but its provider of cryptography: this one, asked to sign a request
/// that is never sent, signs the text instead.
pub(super) fn sign(credential: &AzureCredential, text: &str) -> Result<String, Failure> {
    let mut unsent = request(Method::GET, "https://unsent.invalid/", Bytes::new())?;
    AzureAuthorizer::new(credential, "")
        .with_crypto(&Instead(text.to_owned()))
        .try_authorize(&mut unsent)
        .map_err(|error| Failure::Malformed(error.to_string()))?;
    // `SharedKey account:signature`
    let header = unsent.headers().get(AUTHORIZATION);
    let signature = header.and_then(|header| header.to_str().ok()?.strip_prefix("SharedKey :"));
    let signature = signature.map(str::to_owned);
    signature.ok_or_else(|| Failure::Malformed("the account's key did not sign".to_owned()))
}

/// Signs this text, whatever is to be signed.
#[derive(Debug)]
struct Instead(String);

struct Signed(hmac::Tag);

impl CryptoProvider for Instead {
    fn digest(&self, _: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        Err(Error::NotImplemented {
            operation: "digest".to_owned(),
            implementer: "Instead".to_owned(),
        })
    }

    fn hmac(&self, _: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(Box::new(Signed(hmac::sign(&key, self.0.as_bytes()))))
    }

    fn sign(&self, _: SigningAlgorithm, _: &[u8]) -> Result<Box<dyn Signer>> {
        Err(Error::NotImplemented {
            operation: "sign".to_owned(),
            implementer: "Instead".to_owned(),
        })
    }
}

impl HmacContext for Signed {
    fn update(&mut self, _: &[u8]) {}

    fn finish(&mut self) -> Result<&[u8]> {
        Ok(self.0.as_ref())
    }
}
