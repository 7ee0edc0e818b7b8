//! Who gets a token, who does not, and what Entra says then.

use std::time::{Duration, SystemTime};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::{Value, json};
use stillpoint_lab::{Credential, Identity, Lab, Settings};

use crate::client::{Arm, http, lab, secret_form, token};

fn set(form: &mut [(String, String)], name: &str, value: &str) {
    form.iter_mut().find(|(key, _)| key == name).unwrap().1 = value.into();
}

#[tokio::test]
async fn wrong_logins_are_refused_as_entra_does() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let http = http(&lab);
    let cases = [
        (
            "client_secret",
            "wrong",
            401,
            "invalid_client",
            "AADSTS7000215",
        ),
        (
            "client_id",
            "00000000-0000-0000-0000-000000000000",
            400,
            "unauthorized_client",
            "AADSTS700016",
        ),
        (
            "grant_type",
            "password",
            400,
            "unsupported_grant_type",
            "AADSTS70003",
        ),
        (
            "scope",
            "https://management.azure.com/",
            400,
            "invalid_scope",
            "AADSTS1002012",
        ),
        (
            "scope",
            "https://vault.azure.net/.default",
            400,
            "invalid_resource",
            "AADSTS500011",
        ),
    ];
    for (field, value, status, error, number) in cases {
        let mut form = secret_form(&lab);
        set(&mut form, field, value);
        let reply = token(&lab, &http, &form).await;
        assert_eq!(
            (reply.status, &reply.body["error"]),
            (status, &json!(error)),
            "{field}: {}",
            reply.body
        );
        assert!(
            reply.body["error_description"]
                .as_str()
                .unwrap()
                .starts_with(number),
            "{}",
            reply.body
        );
    }
    let elsewhere = format!(
        "{}/{}/oauth2/v2.0/token",
        lab.endpoint(),
        uuid::Uuid::new_v4()
    );
    let reply = http
        .post(elsewhere)
        .body("grant_type=client_credentials")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 400);
    assert!(reply.text().await.unwrap().contains("AADSTS90002"));
    for path in [
        "common/discovery/instance",
        &format!(
            "{}/v2.0/.well-known/openid-configuration",
            lab.endpoints().tenant
        ),
    ] {
        let reply = http
            .get(format!("{}/{path}", lab.endpoint()))
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn resource_manager_wants_a_good_token() {
    let Some(lab) = lab(Settings {
        token_lifetime: Duration::from_millis(300),
        ..Settings::fast()
    })
    .await
    else {
        return;
    };
    let path = format!("/subscriptions/{}", lab.endpoints().subscription);
    let anonymous = reqwest::Client::get(
        &http(&lab),
        format!("{}{path}?api-version=2022-12-01", lab.endpoint()),
    );
    let refused = anonymous.send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let challenge = refused.headers()["www-authenticate"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        challenge.starts_with("Bearer authorization_uri="),
        "{challenge}"
    );
    let made_up = Arm::with_token(&lab, "made.up.token").get(&path).await;
    assert_eq!(made_up.refusal(), (401, "InvalidAuthenticationToken"));
    let arm = Arm::login(&lab).await;
    assert_eq!(arm.get(&path).await.status, 200);
    crate::client::until(|| async { (arm.get(&path).await.status == 401).then_some(()) }).await;
    assert_eq!(
        arm.get(&path).await.refusal(),
        (401, "ExpiredAuthenticationToken")
    );
    lab.change_settings(|settings| settings.token_lifetime = Duration::from_secs(60));
    let arm = Arm::login(&lab).await;
    lab.revoke_tokens();
    assert_eq!(
        arm.get(&path).await.refusal(),
        (401, "InvalidAuthenticationToken")
    );
}

#[tokio::test]
async fn subscriptions_groups_and_versions_are_checked() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let foreign = uuid::Uuid::new_v4().to_string();
    lab.add_subscription(&foreign, &uuid::Uuid::new_v4().to_string());
    let subscription = &lab.endpoints().subscription;
    let unknown = uuid::Uuid::new_v4();
    let disk = lab.disk_id("d");
    let cases = [
        (
            format!("/subscriptions/{unknown}/resourceGroups/g"),
            (404, "SubscriptionNotFound"),
        ),
        (
            "/subscriptions/mine/resourceGroups/g".into(),
            (400, "InvalidSubscriptionId"),
        ),
        (
            format!("/subscriptions/{foreign}"),
            (401, "InvalidAuthenticationTokenTenant"),
        ),
        (
            format!("/subscriptions/{subscription}/resourceGroups/nowhere"),
            (404, "ResourceGroupNotFound"),
        ),
        (
            disk.to_string().replace("Stillpoint-Lab", "nowhere"),
            (404, "ResourceGroupNotFound"),
        ),
        (format!("{disk}"), (404, "ResourceNotFound")),
        (
            format!("{disk}?api-version=1999-01-01"),
            (400, "NoRegisteredProviderFound"),
        ),
        (
            format!("{disk}?api-version="),
            (400, "NoRegisteredProviderFound"),
        ),
        ("/nonsense".into(), (404, "NotFound")),
    ];
    for (path, expected) in cases {
        let reply = arm.get(&path).await;
        assert_eq!(reply.refusal(), expected, "{path}: {}", reply.body);
    }
    let mut denied = lab.identity().clone();
    denied.denied = vec![
        "Microsoft.Compute/disks/beginGetAccess/action".into(),
        "Microsoft.Compute/snapshots/delete".into(),
    ];
    lab.add_identity(denied);
    let disk = arm.disk("d", |_| ());
    let linked = arm
        .put(lab.snapshot_id("s"), &crate::client::snapshot_of(&disk))
        .await;
    assert_eq!(linked.refusal(), (403, "LinkedAuthorizationFailed"));
    let message = linked.body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("Microsoft.Compute/disks/beginGetAccess/action"),
        "{message}"
    );
    assert_eq!(
        arm.delete(lab.snapshot_id("s")).await.refusal(),
        (403, "AuthorizationFailed")
    );
}

struct Signer {
    pem: String,
    der: Vec<u8>,
    key: KeyPair,
    params: CertificateParams,
}

fn signer(name: &str, issuer: Option<&Signer>) -> Signer {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if issuer.is_none() {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = match issuer {
        None => params.self_signed(&key).unwrap(),
        Some(issuer) => params
            .signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key))
            .unwrap(),
    };
    Signer {
        pem: certificate.pem(),
        der: certificate.der().to_vec(),
        key,
        params,
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn assertion(
    lab: &Lab,
    client: &str,
    signer: &Signer,
    algorithm: Algorithm,
    change: impl FnOnce(&mut Header, &mut Value),
) -> String {
    let mut header = Header::new(algorithm);
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &signer.der);
    header.x5t = Some(URL_SAFE_NO_PAD.encode(digest));
    let audience = format!(
        "{}/{}/oauth2/v2.0/token",
        lab.endpoint(),
        lab.endpoints().tenant
    );
    let mut claims = json!({"iss": client, "sub": client, "aud": audience, "exp": now() + 600, "nbf": now(), "jti": "1"});
    change(&mut header, &mut claims);
    let key = EncodingKey::from_rsa_pem(signer.key.serialize_pem().as_bytes()).unwrap();
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

fn assertion_form(client: &str, assertion: &str) -> Vec<(String, String)> {
    [
        ("grant_type", "client_credentials"),
        ("client_id", client),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion),
        ("scope", "https://management.core.windows.net//.default"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec()
}

#[tokio::test]
async fn certificates_log_in_by_thumbprint_or_by_chain() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let http = http(&lab);
    let (authority, other) = (signer("authority", None), signer("other", None));
    let leaf = signer("stillpoint", Some(&authority));
    let tenant = &lab.endpoints().tenant;
    let pinned = Identity::new(
        tenant,
        vec![Credential::Certificate {
            pem: leaf.pem.clone(),
        }],
    );
    let issued = Identity::new(
        tenant,
        vec![Credential::Issued {
            authority: authority.pem.clone(),
            subject: "stillpoint".into(),
        }],
    );
    lab.add_identity(pinned.clone());
    lab.add_identity(issued.clone());
    let chain = |header: &mut Header| {
        header.x5c = Some(vec![
            STANDARD.encode(&leaf.der),
            STANDARD.encode(&authority.der),
        ])
    };
    let (p, i) = (&*pinned.client_id, &*issued.client_id);
    let cases = [
        (
            "RS256",
            p,
            assertion(&lab, p, &leaf, Algorithm::RS256, |_, _| ()),
            "",
        ),
        (
            "PS256",
            p,
            assertion(&lab, p, &leaf, Algorithm::PS256, |_, _| ()),
            "",
        ),
        (
            "another key",
            p,
            assertion(&lab, p, &other, Algorithm::RS256, |_, _| ()),
            "AADSTS700027",
        ),
        (
            "expired",
            p,
            assertion(&lab, p, &leaf, Algorithm::RS256, |_, c| {
                c["exp"] = json!(now() - 900)
            }),
            "AADSTS700024",
        ),
        (
            "audience",
            p,
            assertion(&lab, p, &leaf, Algorithm::RS256, |_, c| {
                c["aud"] = json!("https://else")
            }),
            "AADSTS700023",
        ),
        (
            "subject",
            p,
            assertion(&lab, p, &leaf, Algorithm::RS256, |_, c| {
                c["sub"] = json!("x")
            }),
            "AADSTS700021",
        ),
        (
            "chain",
            i,
            assertion(&lab, i, &leaf, Algorithm::RS256, |h, _| chain(h)),
            "",
        ),
        (
            "no chain",
            i,
            assertion(&lab, i, &leaf, Algorithm::RS256, |_, _| ()),
            "AADSTS700027",
        ),
        (
            "foreign chain",
            i,
            assertion(&lab, i, &other, Algorithm::RS256, |h, _| {
                h.x5c = Some(vec![STANDARD.encode(&other.der)])
            }),
            "AADSTS700027",
        ),
        (
            "stolen chain",
            i,
            assertion(&lab, i, &other, Algorithm::RS256, |h, _| chain(h)),
            "AADSTS700027",
        ),
        ("no token", p, "no token".into(), "AADSTS50027"),
    ];
    for (case, client, assertion, number) in cases {
        let reply = token(&lab, &http, &assertion_form(client, &assertion)).await;
        let description = reply.body["error_description"].as_str().unwrap_or_default();
        assert_eq!(
            reply.status == 200,
            number.is_empty(),
            "{case}: {}",
            reply.body
        );
        assert!(description.starts_with(number), "{case}: {description}");
    }
}

#[tokio::test]
async fn federated_tokens_are_matched_by_issuer_and_subject_or_text() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let http = http(&lab);
    let federated = |token: Option<&str>| {
        let subject = "system:serviceaccount:velero:velero".into();
        let credential = Credential::Federated {
            issuer: "https://issuer".into(),
            subject,
            token: token.map(Into::into),
        };
        Identity::new(&lab.endpoints().tenant, vec![credential])
    };
    let (claimed, exact) = (federated(None), federated(Some("registered")));
    lab.add_identity(claimed.clone());
    lab.add_identity(exact.clone());
    let service_account = |issuer: &str, subject: &str, audience: &str| {
        let claims = json!({"iss": issuer, "sub": subject, "aud": [audience], "exp": now() + 600});
        format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        )
    };
    let (velero, exchange) = (
        "system:serviceaccount:velero:velero",
        "api://AzureADTokenExchange",
    );
    let cases = [
        (
            &claimed,
            service_account("https://issuer", velero, exchange),
            "",
        ),
        (
            &claimed,
            service_account("https://other", velero, exchange),
            "AADSTS700211",
        ),
        (
            &claimed,
            service_account("https://issuer", "system:serviceaccount:a:b", exchange),
            "AADSTS700213",
        ),
        (
            &claimed,
            service_account("https://issuer", velero, "vault"),
            "AADSTS700212",
        ),
        (&exact, "registered".into(), ""),
        (
            &exact,
            service_account("https://issuer", velero, exchange),
            "AADSTS700213",
        ),
    ];
    for (identity, assertion, number) in cases {
        let reply = token(
            &lab,
            &http,
            &assertion_form(&identity.client_id, &assertion),
        )
        .await;
        assert_eq!(
            reply.status == 200,
            number.is_empty(),
            "{number}: {}",
            reply.body
        );
        assert!(
            reply.body["error_description"]
                .as_str()
                .unwrap_or_default()
                .starts_with(number),
            "{}",
            reply.body
        );
    }
}

#[tokio::test]
async fn managed_identities_are_chosen_by_any_of_their_ids() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let http = http(&lab);
    let managed = |resource: &str| {
        let credential = Credential::Managed {
            resource_id: Some(resource.into()),
        };
        Identity::new(&lab.endpoints().tenant, vec![credential])
    };
    let (one, two) = (
        managed("/subscriptions/s/one"),
        managed("/subscriptions/s/two"),
    );
    lab.add_identity(one.clone());
    lab.add_identity(two.clone());
    let ask = |query: String, metadata: bool| {
        let url = format!(
            "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/{query}",
            lab.endpoints().imds
        );
        let request = http.get(url);
        let request = if metadata {
            request.header("Metadata", "true")
        } else {
            request
        };
        async move {
            let reply = request.send().await.unwrap();
            (
                reply.status().as_u16(),
                serde_json::from_str::<Value>(&reply.text().await.unwrap()).unwrap(),
            )
        }
    };
    for (query, expected) in [
        (format!("&client_id={}", one.client_id), &one),
        (format!("&object_id={}", two.object_id), &two),
        ("&msi_res_id=/subscriptions/s/TWO".into(), &two),
    ] {
        let (status, body) = ask(query, true).await;
        assert_eq!(
            (status, &body["client_id"]),
            (200, &json!(expected.client_id)),
            "{body}"
        );
        let path = format!("/subscriptions/{}", lab.endpoints().subscription);
        let arm = Arm::with_token(&lab, body["access_token"].as_str().unwrap());
        assert_eq!(arm.get(path).await.status, 200);
    }
    assert_eq!(
        ask(String::new(), true).await.0,
        400,
        "two identities, none named"
    );
    assert_eq!(
        ask(format!("&client_id={}", one.client_id), false).await.0,
        400,
        "no Metadata header"
    );
}
