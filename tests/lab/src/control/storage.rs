//! Storage accounts and locks.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ById, Lab, Refused, read};
use crate::{
    AccountKey, KeyName, NewStorageAccount, ResourceId, arm::storage_accounts, shared::Shared,
    storage_account::StorageAccount,
};

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(
            "/accounts",
            get(list).post(create).patch(change).delete(remove),
        )
        .route("/accounts/keys", post(regenerate))
        .route("/locks", post(lock).delete(unlock))
}

fn shown(account: &StorageAccount) -> Value {
    let keys = account.keys.iter();
    let keys: serde_json::Map<_, _> = keys
        .map(|(name, (key, _))| (name.name().into(), json!(key)))
        .collect();
    json!({"id": account.id, "keys": keys, "account": storage_accounts::view(account)})
}

async fn list(State(shared): Lab) -> Json<Value> {
    Json(
        shared
            .world()
            .storage_accounts
            .values()
            .map(shown)
            .collect(),
    )
}

async fn create(State(shared): Lab, body: bytes::Bytes) -> Result<Json<Value>, Refused> {
    let new: NewStorageAccount = read(&body)?;
    let id = shared.create_storage_account(&new)?;
    let made = shared.world().storage_accounts.get(&id.key()).map(shown);
    Ok(Json(made.unwrap_or_default()))
}

async fn change(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Change {
        id: ResourceId,
        allow_shared_key_access: Option<bool>,
    }
    let Change {
        id,
        allow_shared_key_access,
    } = read(&body)?;
    shared.allow_shared_key_access(&id, allow_shared_key_access)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(State(shared): Lab, Query(ById { id }): Query<ById>) -> StatusCode {
    shared.delete_storage_account(&id);
    StatusCode::NO_CONTENT
}

async fn regenerate(State(shared): Lab, body: bytes::Bytes) -> Result<Json<Value>, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Regenerate {
        id: ResourceId,
        key_name: KeyName,
        #[serde(default)]
        value: Option<AccountKey>,
    }
    let Regenerate {
        id,
        key_name,
        value,
    } = read(&body)?;
    let key = shared.regenerate_key(&id, key_name, value)?;
    Ok(Json(json!({"value": key})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    scope: String,
}

async fn lock(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    shared.lock(&read::<Scope>(&body)?.scope)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unlock(
    State(shared): Lab,
    Query(Scope { scope }): Query<Scope>,
) -> Result<StatusCode, Refused> {
    shared.unlock(&scope)?;
    Ok(StatusCode::NO_CONTENT)
}
