//! Storage accounts: what ARM shows of them, who gets their keys.

use reqwest::Method;
use serde_json::{Value, json};
use stillpoint_lab::{
    AccountKey, Action, Credential, Fault, Identity, KeyName, Lab, LabError, NewStorageAccount,
    ResourceId, Settings,
    settings::{Bucket, Limits},
};

use crate::client::{Arm, Reply, http1, lab, secret_form, token};

const VERSION: &str = "api-version=2024-01-01";

fn account(lab: &Lab) -> ResourceId {
    let id = lab.storage_account_id("velero0");
    let new = NewStorageAccount::new(id, "https://127.0.0.1:10000/velero0");
    lab.create_storage_account(&new).unwrap()
}

async fn get(arm: &Arm<'_>, id: &ResourceId) -> Reply {
    arm.get(format!("{id}?{VERSION}")).await
}

async fn list_keys(arm: &Arm<'_>, id: &ResourceId, more: &str) -> Reply {
    let path = format!("{id}/listKeys?{VERSION}{more}");
    arm.send(Method::POST, &path, None).await
}

fn names(reply: &Reply) -> Vec<&str> {
    let keys = reply.body["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["keyName"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn account_is_shown_with_its_blob_endpoint() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let id = account(&lab);
    let shown = get(&arm, &id).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let expected = [
        ("/id", json!(id)),
        ("/type", json!("Microsoft.Storage/storageAccounts")),
        ("/location", json!("westeurope")),
        ("/sku", json!({"name": "Standard_LRS", "tier": "Standard"})),
        ("/properties/provisioningState", json!("Succeeded")),
        (
            "/properties/primaryEndpoints/blob",
            json!("https://127.0.0.1:10000/velero0/"),
        ),
    ];
    for (path, value) in expected {
        assert_eq!(shown.body.pointer(path), Some(&value), "{path}");
    }
    let shared_key = async || {
        let shown = get(&arm, &id).await.body;
        shown["properties"].get("allowSharedKeyAccess").cloned()
    };
    assert_eq!(shared_key().await, None, "nobody set it");
    for allowed in [Some(false), Some(true), None] {
        lab.allow_shared_key_access(&id, allowed).unwrap();
        assert_eq!(shared_key().await, allowed.map(Value::from));
        assert_eq!(list_keys(&arm, &id, "").await.status, 200, "{allowed:?}");
    }
    assert_eq!(lab.storage_account(&id), Some(get(&arm, &id).await.body));
    lab.delete_storage_account(&id);
    assert_eq!(
        get(&arm, &id).await.refusal(),
        (404, "ResourceNotFound"),
        "removed"
    );
}

#[tokio::test]
async fn keys_are_listed_and_those_of_kerberos_only_when_asked_for() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let given = AccountKey::random();
    let id = lab.storage_account_id("velero0");
    let new = NewStorageAccount {
        key1: Some(given.clone()),
        ..NewStorageAccount::new(id, "https://127.0.0.1:10000/velero0")
    };
    let id = lab.create_storage_account(&new).unwrap();
    let listed = list_keys(&arm, &id, "&$expand=kerb").await;
    assert_eq!(names(&listed), ["key1", "key2"], "none of Kerberos made");
    let first = &listed.body["keys"][0];
    assert_eq!(
        (&first["value"], &first["permissions"]),
        (&json!(given), &json!("FULL"))
    );
    let made = first["creationTime"].as_str().unwrap();
    assert!(made.ends_with('Z'), "{made}");
    assert_eq!(
        Some(&listed.body["keys"][1]["value"]),
        lab.account_key(&id, KeyName::Key2)
            .map(|key| json!(key))
            .as_ref()
    );

    lab.regenerate_key(&id, KeyName::Kerb1, None).unwrap();
    assert_eq!(names(&list_keys(&arm, &id, "").await), ["key1", "key2"]);
    let expanded = list_keys(&arm, &id, "&$expand=kerb").await;
    assert_eq!(names(&expanded), ["key1", "key2", "kerb1"]);
    let wrong = list_keys(&arm, &id, "&$expand=all").await;
    assert_eq!(wrong.refusal(), (400, "InvalidValuesForRequestParameters"));

    let fresh = lab.regenerate_key(&id, KeyName::Key1, None).unwrap();
    assert_ne!(fresh, given);
    let listed = list_keys(&arm, &id, "").await;
    assert_eq!(listed.body["keys"][0]["value"], json!(fresh));
    lab.regenerate_key(&id, KeyName::Key1, Some(given.clone()))
        .unwrap();
    let listed = list_keys(&arm, &id, "").await;
    assert_eq!(listed.body["keys"][0]["value"], json!(given));
    let seen = format!("{lab:?} {:?} {new:?}", lab.requests());
    assert!(!seen.contains(given.as_str()), "a key is shown");
}

#[tokio::test]
async fn account_is_refused_as_a_disk_is() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let id = account(&lab).to_string();
    let elsewhere = id.replace("Stillpoint-Lab", "nowhere");
    let unknown = lab.storage_account_id("unknown").to_string();
    let foreign = uuid::Uuid::new_v4().to_string();
    lab.add_subscription(&foreign, &uuid::Uuid::new_v4().to_string());
    let foreign = id.replace(&lab.endpoints().subscription, &foreign);
    let cases = [
        (&elsewhere, VERSION, (404, "ResourceGroupNotFound")),
        (&unknown, VERSION, (404, "ResourceNotFound")),
        (&foreign, VERSION, (401, "InvalidAuthenticationTokenTenant")),
        (&id, "x=y", (400, "MissingApiVersionParameter")),
        // A version of disks.
        (
            &id,
            "api-version=2024-03-02",
            (400, "NoRegisteredProviderFound"),
        ),
    ];
    for (path, query, expected) in cases {
        for (method, action) in [(Method::GET, ""), (Method::POST, "/listKeys")] {
            let url = format!("{}{path}{action}?{query}", lab.endpoint());
            let reply = arm.send(method, &url, None).await;
            assert_eq!(reply.refusal(), expected, "{url}: {}", reply.body);
        }
    }
    let missing = list_keys(&arm, &unknown.parse().unwrap(), "").await;
    let said = missing.body["error"]["message"].as_str().unwrap();
    assert!(
        said.starts_with("The Resource 'Microsoft.Storage/storageAccounts/unknown' under"),
        "{said}"
    );
    for (method, action) in [(Method::GET, "/listKeys"), (Method::POST, "")] {
        let path = format!("{id}{action}?{VERSION}");
        let reply = arm.send(method, &path, None).await;
        assert_eq!(reply.refusal(), (405, "MethodNotAllowed"), "{path}");
    }
}

#[tokio::test]
async fn reading_an_account_and_listing_its_keys_are_two_permissions() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let id = account(&lab);
    for (denied, statuses) in [
        ("Microsoft.Storage/storageAccounts/read", (403, 200)),
        (
            "Microsoft.Storage/storageAccounts/listKeys/action",
            (200, 403),
        ),
        ("Microsoft.Storage/**", (403, 403)),
    ] {
        let secret = Credential::Secret("s".into());
        let identity = Identity {
            denied: vec![denied.into()],
            ..Identity::new(&lab.endpoints().tenant, vec![secret])
        };
        lab.add_identity(identity.clone());
        let arm = login(&lab, &identity).await;
        let seen = (
            get(&arm, &id).await.status,
            list_keys(&arm, &id, "").await.status,
        );
        assert_eq!(seen, statuses, "{denied}");
    }
    let arm = Arm::login(&lab).await;
    lab.inject(Fault {
        method: Some("POST".into()),
        path: "**/listKeys".into(),
        skip: 0,
        times: 1,
        action: Action::Deny {
            action: "Microsoft.Storage/storageAccounts/listKeys/action".into(),
        },
    });
    let denied = list_keys(&arm, &id, "").await;
    assert_eq!(denied.refusal(), (403, "AuthorizationFailed"));
    let said = denied.body["error"]["message"].as_str().unwrap();
    let expected = format!(
        "does not have authorization to perform action 'Microsoft.Storage/storageAccounts/listKeys/action' over scope \
         '{id}' or the scope is invalid."
    );
    assert!(said.contains(&expected), "{said}");
    let last = lab.requests().pop().unwrap();
    assert_eq!(
        (&*last.method, last.path, last.status, last.faults.len()),
        ("POST", format!("{id}/listKeys"), Some(403), 1)
    );
}

async fn login<'a>(lab: &'a Lab, identity: &Identity) -> Arm<'a> {
    let mut form = secret_form(lab);
    for (name, value) in &mut form {
        match name.as_str() {
            "client_id" => value.clone_from(&identity.client_id),
            "client_secret" => *value = "s".into(),
            _ => {}
        }
    }
    let given = token(lab, &crate::client::http(lab), &form).await;
    Arm::with_token(lab, given.body["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn listing_keys_counts_as_a_write() {
    let slow = |capacity| Bucket {
        capacity,
        refill: 0.01,
    };
    let limits = Limits {
        reads: slow(9),
        writes: slow(1),
        deletes: slow(1),
        resource: None,
    };
    let Some(lab) = lab(Settings {
        limits: Some(limits),
        ..Settings::fast()
    })
    .await
    else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let id = account(&lab);
    let listed = list_keys(&arm, &id, "").await;
    assert_eq!(
        (
            listed.status,
            listed.header("x-ms-ratelimit-remaining-subscription-writes")
        ),
        (200, Some("0"))
    );
    let refused = list_keys(&arm, &id, "").await;
    assert_eq!(refused.refusal(), (429, "SubscriptionRequestsThrottled"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(get(&arm, &id).await.status, 200);
}

#[tokio::test]
async fn empty_post_over_http1_must_have_a_length() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let mut arm = Arm::login(&lab).await;
    let id = account(&lab);
    assert_eq!(list_keys(&arm, &id, "").await.status, 200, "HTTP/2");
    arm.http = http1(&lab);
    assert_eq!(list_keys(&arm, &id, "").await.status, 411);
    let path = format!("{id}/listKeys?{VERSION}");
    let measured = arm.send(Method::POST, &path, Some(&json!({}))).await;
    assert_eq!(measured.status, 200);
}

#[tokio::test]
async fn accounts_are_made_by_azures_rules() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let id = account(&lab);
    lab.add_resource_group(&id.subscription, "other", "westeurope")
        .unwrap();
    let here = |name: &str| {
        NewStorageAccount::new(lab.storage_account_id(name), "http://127.0.0.1:1/devstore")
    };
    let taken = ResourceId {
        group: "other".into(),
        ..id
    };
    let cases = [
        (here("ab"), "AccountNameInvalid"),
        (here("Velero"), "AccountNameInvalid"),
        (here("my-account"), "AccountNameInvalid"),
        (
            NewStorageAccount::new(taken, "http://127.0.0.1:1/"),
            "StorageAccountAlreadyTaken",
        ),
        (
            NewStorageAccount::new(lab.disk_id("disk"), "http://127.0.0.1:1/"),
            "expected a Microsoft.Storage/storageAccounts",
        ),
        (
            NewStorageAccount {
                sku: "Premium_RAGRS".into(),
                ..here("account")
            },
            "Premium_RAGRS",
        ),
        (
            NewStorageAccount {
                location: "atlantis".into(),
                ..here("account")
            },
            "LocationNotAvailableForResourceType",
        ),
        (
            NewStorageAccount {
                blob_endpoint: "127.0.0.1:10000".into(),
                ..here("account")
            },
            "blobEndpoint \"127.0.0.1:10000\"",
        ),
    ];
    for (new, said) in cases {
        let error = lab.create_storage_account(&new).unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    let nobody = lab.storage_account_id("nobody");
    assert!(matches!(
        lab.regenerate_key(&nobody, KeyName::Key1, None),
        Err(LabError::Missing(_))
    ));
    lab.create_storage_account(&here("account")).unwrap();
}
