//! Tokens for the data of storage accounts, from Entra and from the metadata service.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use stillpoint_lab::{Credential, Identity, Lab, Settings};

use crate::client::{Arm, http, lab, secret_form, token};

fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

/// A storage service reads these; a user delegation key needs `oid` and `tid`.
fn check(lab: &Lab, identity: &Identity, token: &str, audience: &str) {
    let claims = claims(token);
    let tenant = &lab.endpoints().tenant;
    assert_eq!(claims["aud"], audience);
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{tenant}/"));
    assert_eq!(
        (&claims["oid"], &claims["tid"], &claims["appid"]),
        (
            &json!(identity.object_id),
            &json!(tenant),
            &json!(identity.client_id)
        )
    );
    let times = ["iat", "nbf", "exp"].map(|name| claims[name].as_u64().unwrap());
    assert!(times.is_sorted(), "{times:?}");
}

async fn refused_by_resource_manager(lab: &Lab, token: &str, audience: &str) {
    let arm = Arm::with_token(lab, token);
    let path = format!("/subscriptions/{}", lab.endpoints().subscription);
    let reply = arm.get(path).await;
    assert_eq!(
        reply.refusal(),
        (401, "InvalidAuthenticationTokenAudience"),
        "{audience}"
    );
    let said = reply.body["error"]["message"].as_str().unwrap();
    let expected =
        format!("The access token has been obtained for wrong audience or resource '{audience}'.");
    assert!(said.starts_with(&expected), "{said}");
}

#[tokio::test]
async fn entra_gives_tokens_for_storage_that_resource_manager_refuses() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let http = http(&lab);
    for audience in ["https://storage.azure.com", "https://storage.azure.com/"] {
        let mut form = secret_form(&lab);
        for (name, value) in &mut form {
            if name == "scope" {
                *value = format!("{audience}/.default openid offline_access");
            }
        }
        let given = token(&lab, &http, &form).await;
        assert_eq!(given.status, 200, "{}", given.body);
        let token = given.body["access_token"].as_str().unwrap();
        check(&lab, lab.identity(), token, audience);
        refused_by_resource_manager(&lab, token, audience).await;
    }
}

#[tokio::test]
async fn metadata_service_gives_tokens_for_storage() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let managed = Credential::Managed { resource_id: None };
    let identity = Identity::new(&lab.endpoints().tenant, vec![managed]);
    lab.add_identity(identity.clone());
    let http = http(&lab);
    let imds = &lab.endpoints().imds;
    for (resource, expected) in [
        ("https://storage.azure.com", 200),
        ("https://storage.azure.com/", 200),
        ("https://vault.azure.net", 400),
    ] {
        let url = format!(
            "{imds}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}"
        );
        let reply = http.get(url).header("Metadata", "true").send().await;
        let reply = crate::client::reply(reply.unwrap()).await;
        assert_eq!(reply.status, expected, "{}", reply.body);
        if expected == 200 {
            assert_eq!(reply.body["resource"], resource);
            let token = reply.body["access_token"].as_str().unwrap();
            check(&lab, &identity, token, resource);
            refused_by_resource_manager(&lab, token, resource).await;
        }
    }
}
