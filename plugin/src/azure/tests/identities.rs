use azure_core::http::{AsyncRawResponse, HttpClient, Request, headers::Headers};
use stillpoint_lab::{Credential, Identity, settings};

use super::{
    location,
    login::{read, with_file},
    start,
};
use crate::azure::{
    Cloud, connect,
    identity::{Identity as Chosen, Otherwise},
    transport::Transport,
    variables::Variables,
};

#[tokio::test(flavor = "multi_thread")]
async fn workload_identity_reads_its_token_from_the_file() {
    let Some(lab) = start(settings::Settings::fast()).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (issuer, subject) = (
        "https://oidc.example/",
        "system:serviceaccount:velero:velero",
    );
    let credential = Credential::Federated {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        token: None,
    };
    let identity = Identity::new(&lab.endpoints().tenant, vec![credential]);
    lab.add_identity(identity.clone());
    for (subject, works) in [
        (subject, true),
        ("system:serviceaccount:velero:other", false),
    ] {
        let token = directory.path().join("token");
        std::fs::write(&token, service_account_token(issuer, subject)).unwrap();
        let lines = format!(
            "AZURE_TENANT_ID={}\nAZURE_CLIENT_ID={}\nAZURE_FEDERATED_TOKEN_FILE={}\n",
            identity.tenant,
            identity.client_id,
            token.display()
        );
        let answer = read(&connect(&with_file(&lab, directory.path(), &lines)).unwrap()).await;
        assert_eq!(answer.is_ok(), works, "{answer:?}");
        if let Err(error) = answer {
            assert!(
                error.to_string().contains("names another subject"),
                "{error}"
            );
        }
    }
    let lines = format!(
        "AZURE_TENANT_ID={}\nAZURE_CLIENT_ID={}\nAZURE_FEDERATED_TOKEN_FILE=/nowhere/token\n",
        lab.endpoints().tenant,
        lab.identity().client_id
    );
    let error = connect(&with_file(&lab, directory.path(), &lines))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nowhere/token") && error.contains("AZURE_FEDERATED_TOKEN_FILE"),
        "{error}"
    );
}

/// As a kubelet writes it; only its claims matter here.
fn service_account_token(issuer: &str, subject: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let now = jiff::Timestamp::now().as_second();
    let claims = serde_json::json!({
        "iss": issuer, "sub": subject, "aud": ["api://AzureADTokenExchange"],
        "iat": now, "nbf": now, "exp": now + 600,
    });
    let part = |json: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    format!(
        "{}.{}.c2ln",
        part(serde_json::json!({"alg": "RS256", "typ": "JWT"})),
        part(claims)
    )
}

/// Sends what is for the node's metadata service to the lab's.
#[derive(Debug)]
struct ToLab(String, Transport);

#[async_trait::async_trait]
impl HttpClient for ToLab {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request
            .url()
            .as_str()
            .replace("http://169.254.169.254", &self.0);
        let mut headers = http::HeaderMap::new();
        headers.insert("metadata", http::HeaderValue::from_static("true"));
        let url = url.parse().unwrap();
        let sent = self
            .1
            .send(http::Method::GET, url, headers, bytes::Bytes::new());
        let answer = sent.await.unwrap();
        Ok(AsyncRawResponse::from_bytes(
            answer.status.into(),
            Headers::new(),
            answer.body,
        ))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_identities_are_told_apart_by_what_the_client_id_is() {
    let Some(lab) = start(settings::Settings::fast()).await else {
        return;
    };
    let resource = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u";
    let managed = |resource_id: Option<&str>| {
        let resource_id = resource_id.map(str::to_owned);
        let credential = Credential::Managed { resource_id };
        let identity = Identity::new(&lab.endpoints().tenant, vec![credential]);
        lab.add_identity(identity.clone());
        identity
    };
    let (system, user) = (managed(None), managed(Some(resource)));
    let cloud = location(&lab);
    let endpoint = cloud.resource_manager_endpoint.as_ref();
    let cloud = Cloud::new("", &"", endpoint, endpoint).unwrap();
    for (client_id, expected) in [
        ("", &system.client_id),
        (user.client_id.as_str(), &user.client_id),
        (resource, &user.client_id),
    ] {
        let process = |name: &str| (name == "AZURE_CLIENT_ID").then(|| client_id.to_owned());
        let variables = Variables::load(None, &process).unwrap();
        let identity = Chosen::choose(&variables, Otherwise::Machine).unwrap();
        let wire = ToLab(lab.endpoints().imds.clone(), Transport::new(None).unwrap());
        let credential = identity
            .credential(&cloud, std::sync::Arc::new(wire))
            .unwrap();
        let scope = cloud.scope();
        credential.get_token(&[&scope], None).await.unwrap();
        let request = lab.requests().pop().unwrap();
        assert_eq!(request.principal.as_ref(), Some(expected), "{client_id}");
    }
}
