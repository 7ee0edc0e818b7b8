//! Signed URLs: by the account's key, or by a key that Azure lends an identity of Entra.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use object_store::azure::AzureCredential;

use super::{Account, BlobError, account_key, ask, delegation::LONGEST, key, sas::Sas};
use crate::velero::Object;

/// How far the clocks of this node, of Azure and of who opens the URL may be apart.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

/// The object need not be there: Velero's client also asks for what older backups do not have, and understands the
/// URL's 404, but waits an error of ours out.
pub(super) async fn url(
    account: &Account,
    object: &Object,
    lifetime: Duration,
) -> Result<String, BlobError> {
    let url = signed(account, object, lifetime).await?;
    if !account.wire.refuses(&url).await {
        return Ok(url);
    }
    // Somebody replaced the account's key, or had Azure take back what it lent.
    account.delegation.forget().await;
    find_key(account, object).await?;
    signed(account, object, lifetime).await
}

async fn signed(
    account: &Account,
    object: &Object,
    lifetime: Duration,
) -> Result<String, BlobError> {
    let Object { container, key } = object;
    let started = Instant::now();
    let wire = &account.wire;
    let resource = || wire.resource(container, Some(key));
    let address = format!("{}/{}", wire.url(container), key::encoded(key)?);
    let sas = |start, end| {
        let blob = (wire.account(), container.as_str(), key.as_str());
        Sas::new(blob, (start, end), wire.service().scheme() == "https")
    };

    let now = Timestamp::now();
    let life = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX);
    let end = now.checked_add(life).unwrap_or(Timestamp::MAX);
    let failed = |failure| BlobError::of(failure, resource(), started.elapsed());
    let credential = wire.credential().await.map_err(failed)?;
    let query = if let AzureCredential::AccessKey(_) = &*credential {
        let sas = sas(now - SKEW, end);
        let signature = account_key::sign(&credential, &sas.text(None)).map_err(failed)?;
        sas.query(None, &signature)
    } else {
        if life > LONGEST {
            return Err(BlobError::Lifetime {
                resource: resource(),
                asked: lifetime,
            });
        }
        // Only as far in the past as leaves room for the lifetime.
        let start = (now - SKEW).max(end - LONGEST);
        let key = account.delegation.key(wire, start, end).await;
        let key = key.map_err(failed)?;
        let sas = sas(start, end);
        sas.query(Some(&key), &key.sign(&sas.text(Some(&key))))
    };
    Ok(format!("{address}?{query}"))
}

/// Has the wire see whether its key is still good, and look for another if not.
async fn find_key(account: &Account, object: &Object) -> Result<(), BlobError> {
    let Object { container, key } = object;
    let started = Instant::now();
    let wire = &account.wire;
    let url = ask::url(wire, object)?;
    let asked = async {
        let request = ask::request(Method::HEAD, &url, Bytes::new())?;
        wire.send(request).await
    };
    match asked.await {
        Err(failure) if failure.status() != Some(404) => {
            let resource = wire.resource(container, Some(key));
            Err(BlobError::of(failure, resource, started.elapsed()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
