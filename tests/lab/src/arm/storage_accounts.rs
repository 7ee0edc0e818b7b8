//! `Microsoft.Storage/storageAccounts`: GET of one, POST `listKeys`.

use http::StatusCode;
use serde_json::{Value, json};

use super::{context::Context, disks, refusal::Refusal};
use crate::{Moment, ResourceId, storage_account::StorageAccount, web::Answer, world::World};

pub(crate) fn get(context: &Context<'_>, id: &ResourceId) -> Result<Answer, Refusal> {
    Ok(Answer::json(StatusCode::OK, &view(known(context, id)?)))
}

/// Also where the account does not allow its keys: they can be listed, not used.
pub(crate) fn list_keys(context: &Context<'_>, id: &ResourceId) -> Result<Answer, Refusal> {
    let account = known(context, id)?;
    let kerberos = match context.call.parameter("$expand") {
        None | Some("") => false,
        Some(expand) if expand.eq_ignore_ascii_case("kerb") => true,
        Some(_) => return Err(Refusal::Values("$expand")),
    };
    let keys: Vec<_> = account
        .keys
        .iter()
        .filter(|(name, _)| kerberos || !name.kerberos())
        .map(|(name, (key, made))| {
            json!({"creationTime": time(made), "keyName": name, "value": key, "permissions": "FULL"})
        })
        .collect();
    Ok(Answer::json(StatusCode::OK, &json!({"keys": keys})))
}

fn known<'a>(context: &'a Context<'_>, id: &ResourceId) -> Result<&'a StorageAccount, Refusal> {
    let found = context.world.storage_accounts.get(&id.key());
    found.ok_or_else(|| disks::missing(id))
}

/// 3 to 24 digits and lower-case letters, of no other account in all of Azure.
pub(crate) fn name(world: &World, name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    if !(3..=24).contains(&name.len()) || !name.chars().all(allowed) {
        return Err(Refusal::AccountName(name.into()));
    }
    if world
        .storage_accounts
        .values()
        .any(|account| account.id.name == name)
    {
        return Err(Refusal::AccountTaken(name.into()));
    }
    Ok(())
}

/// An account as GET shows it; of its endpoints only that of blobs, the others do not exist.
pub(crate) fn view(account: &StorageAccount) -> Value {
    let StorageAccount {
        id,
        location,
        sku,
        blob_endpoint,
        allow_shared_key_access,
        created,
        keys,
    } = account;
    let created = time(created);
    let key_times: serde_json::Map<_, _> = keys
        .iter()
        .filter(|(name, _)| !name.kerberos())
        .map(|(name, (_, made))| (name.name().into(), json!(time(made))))
        .collect();
    let encrypted = json!({"keyType": "Account", "enabled": true, "lastEnabledTime": created});
    let mut properties = json!({
        "keyCreationTime": key_times,
        "privateEndpointConnections": [],
        "minimumTlsVersion": "TLS1_2",
        "allowBlobPublicAccess": false,
        "networkAcls": {"bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow"},
        "supportsHttpsTrafficOnly": blob_endpoint.starts_with("https:"),
        "encryption": {"services": {"blob": encrypted, "file": encrypted}, "keySource": "Microsoft.Storage"},
        "accessTier": "Hot",
        "provisioningState": "Succeeded",
        "creationTime": created,
        "primaryEndpoints": {"blob": blob_endpoint},
        "primaryLocation": location,
        "statusOfPrimary": "available",
    });
    if let Some(allowed) = allow_shared_key_access {
        properties["allowSharedKeyAccess"] = json!(allowed);
    }
    let tier = sku.split('_').next();
    json!({
        "sku": {"name": sku, "tier": tier}, "kind": "StorageV2", "id": id, "name": id.name,
        "type": id.kind.to_string(), "location": location, "tags": {}, "properties": properties,
    })
}

/// As this provider writes times, unlike `Microsoft.Compute`.
fn time(moment: &Moment) -> String {
    moment.to_string().replace("+00:00", "Z")
}
