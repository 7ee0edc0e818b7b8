//! The control API, and the program.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};
use stillpoint_lab::{AccountKey, Settings};

use crate::client::{Arm, http, lab, snapshot_of};

#[tokio::test]
async fn other_processes_arrange_and_look() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let http = http(&lab);
    let control = |method: Method, path: &str, body: Value| {
        let request = http
            .request(method, format!("{}{path}", lab.endpoints().control))
            .body(body.to_string());
        async move {
            let reply = request.send().await.unwrap();
            let status = reply.status().as_u16();
            let text = reply.text().await.unwrap();
            (
                status,
                serde_json::from_str::<Value>(&text).unwrap_or_default(),
            )
        }
    };
    let disk = lab.disk_id("d");
    let (status, made) = control(Method::POST, "/disks", json!({"id": disk, "sku": "PremiumV2_LRS", "gib": 8, "zone": "1", "properties": {"diskIOPSReadWrite": 4000}})).await;
    assert_eq!(
        (status, &made["disk"]["properties"]["diskIOPSReadWrite"]),
        (200, &json!(4000)),
        "{made}"
    );
    assert!(std::path::Path::new(made["file"].as_str().unwrap()).exists());
    let refusals = [
        ("/disks", json!({"id": disk}), 409, "exists already"),
        (
            "/disks",
            json!({"id": lab.disk_id("e"), "zone": "9"}),
            409,
            "InvalidAvailabilityZone",
        ),
        ("/disks", json!({"id": "e"}), 400, "not a resource ID"),
        (
            "/faults",
            json!({"path": "**", "action": "explode"}),
            400,
            "explode",
        ),
        (
            "/faults",
            json!({"path": "**", "action": "closeAfter", "count": 1}),
            400,
            "count",
        ),
        (
            "/disks/attach",
            json!({"disk": lab.disk_id("x"), "machine": null}),
            404,
            "no disk",
        ),
    ];
    for (path, body, expected, said) in refusals {
        let (status, error) = control(Method::POST, path, body).await;
        assert_eq!(status, expected, "{path}: {error}");
        assert!(
            error["error"].as_str().unwrap().contains(said),
            "{path}: {error}"
        );
    }
    let (status, settings) = control(
        Method::PATCH,
        "/settings",
        json!({"snapshot": {"duration": "50ms", "cut": {"at": 0.5}}}),
    )
    .await;
    assert_eq!(
        (status, &settings["snapshot"]["duration"]),
        (200, &json!("50ms"))
    );
    assert_eq!(
        control(Method::PATCH, "/settings", json!({"snapshots": {}}))
            .await
            .0,
        400
    );
    assert_eq!(
        control(Method::PATCH, "/settings", json!({"pool": 1}))
            .await
            .0,
        400
    );

    let fault =
        json!({"method": "PUT", "path": "**/snapshots/*", "action": {"status": {"status": 503}}});
    assert_eq!(control(Method::POST, "/faults", fault).await.0, 204);
    assert_eq!(
        control(Method::GET, "/faults", Value::Null)
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let arm = Arm::login(&lab).await;
    assert_eq!(
        arm.put(lab.snapshot_id("s"), &snapshot_of(&disk))
            .await
            .status,
        503
    );
    let id = arm.snapshot("s", &disk).await;
    let (_, snapshots) = control(Method::GET, "/snapshots", Value::Null).await;
    let moments = ["accepted", "cutBegan", "cutEnded", "succeeded"]
        .map(|name| snapshots[0][name]["monotonicNs"].as_u64().unwrap());
    assert!(moments.is_sorted(), "{moments:?}");
    let (_, copy) = control(Method::POST, "/copies", json!({"id": id})).await;
    assert!(std::path::Path::new(copy["file"].as_str().unwrap()).exists());
    let (_, requests) = control(Method::GET, "/requests", Value::Null).await;
    assert!(
        requests
            .as_array()
            .unwrap()
            .iter()
            .any(|request| request["faults"] == json!(["status 503"]))
    );
    assert_eq!(
        control(Method::DELETE, "/requests", Value::Null).await.0,
        204
    );
    assert_eq!(
        control(Method::DELETE, &format!("/disks?id={disk}"), Value::Null)
            .await
            .0,
        204
    );
    assert_eq!(
        control(Method::GET, "/disks", Value::Null).await.1,
        json!([])
    );
    let set = disk.to_string().replace("/disks/", "/diskEncryptionSets/");
    for (path, body) in [
        (
            "/subscriptions",
            json!({"id": uuid::Uuid::new_v4().to_string(), "tenant": lab.endpoints().tenant}),
        ),
        (
            "/groups",
            json!({"subscription": lab.endpoints().subscription, "name": "g", "location": "westus"}),
        ),
        (
            "/identities",
            json!({"tenant": lab.endpoints().tenant, "clientId": "c", "objectId": "o", "credentials": [{"secret": "s"}, {"managed": {}}]}),
        ),
        (
            "/registrations",
            json!({"id": set, "location": "westeurope"}),
        ),
    ] {
        let (status, body) = control(Method::POST, path, body).await;
        assert_eq!(status, 204, "{path}: {body}");
    }
}

#[tokio::test]
async fn other_processes_arrange_storage_accounts_and_locks() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let http = http(&lab);
    let control = async |method: Method, path: &str, body: Value| {
        let url = format!("{}{path}", lab.endpoints().control);
        let reply = http.request(method, url).body(body.to_string()).send();
        let reply = crate::client::reply(reply.await.unwrap()).await;
        (reply.status, reply.body)
    };
    let id = lab.storage_account_id("velero0");
    let (key, other) = (AccountKey::random(), AccountKey::random());
    let new = json!({"id": id, "blobEndpoint": "https://127.0.0.1:1/velero0", "key2": key});
    let (status, made) = control(Method::POST, "/accounts", new.clone()).await;
    assert_eq!(
        (status, &made["keys"]["key2"]),
        (200, &json!(key)),
        "{made}"
    );
    assert!(made["keys"]["key1"].is_string(), "{made}");
    let change = json!({"id": id, "allowSharedKeyAccess": false});
    assert_eq!(
        control(Method::PATCH, "/accounts", change).await,
        (204, Value::Null)
    );
    let replace = json!({"id": id, "keyName": "key2", "value": other});
    assert_eq!(
        control(Method::POST, "/accounts/keys", replace).await,
        (200, json!({"value": other}))
    );
    let (_, accounts) = control(Method::GET, "/accounts", Value::Null).await;
    assert_eq!(
        (
            &accounts[0]["account"]["properties"]["allowSharedKeyAccess"],
            &accounts[0]["keys"]["key2"]
        ),
        (&json!(false), &json!(other))
    );
    let lock = json!({"scope": id});
    assert_eq!(control(Method::POST, "/locks", lock).await.0, 204);
    let arm = Arm::login(&lab).await;
    let keys = format!("{id}/listKeys?api-version=2024-01-01");
    assert_eq!(
        arm.send(Method::POST, &keys, None).await.refusal(),
        (409, "ScopeLocked")
    );
    let unlock = format!("/locks?scope={id}");
    for expected in [204, 404] {
        assert_eq!(
            control(Method::DELETE, &unlock, Value::Null).await.0,
            expected
        );
    }
    assert_eq!(arm.send(Method::POST, &keys, None).await.status, 200);
    let refusals = [
        ("/accounts", new, 409, "already taken"),
        (
            "/accounts",
            json!({"id": id, "blobEndpoint": "x"}),
            400,
            "blobEndpoint",
        ),
        (
            "/accounts",
            json!({"id": id, "blobEndpoint": "http://a/", "key1": "c2hvcnQ="}),
            400,
            "64 bytes",
        ),
        (
            "/accounts/keys",
            json!({"id": id, "keyName": "key3"}),
            400,
            "key3",
        ),
        (
            "/locks",
            json!({"scope": "/subscriptions/x"}),
            404,
            "there is no",
        ),
    ];
    for (path, body, expected, said) in refusals {
        let (status, error) = control(Method::POST, path, body).await;
        assert_eq!(status, expected, "{path}: {error}");
        assert!(
            error["error"].as_str().unwrap().contains(said),
            "{path}: {error}"
        );
    }
    let remove = format!("/accounts?id={id}");
    assert_eq!(control(Method::DELETE, &remove, Value::Null).await.0, 204);
    assert_eq!(
        control(Method::GET, "/accounts", Value::Null).await.1,
        json!([])
    );
}

#[test]
fn program_says_where_it_is_and_leaves_nothing_mounted() {
    if let Some(why) = stillpoint_loopfs::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for signal in ["INT", "TERM"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stillpoint-lab"))
            .args(["serve", "--directory"])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        assert!(
            said["endpoint"]
                .as_str()
                .unwrap()
                .starts_with("https://127.0.0.1:"),
            "{line}"
        );
        let credentials =
            std::fs::read_to_string(said["credentialsFile"].as_str().unwrap()).unwrap();
        assert!(
            credentials.contains("AZURE_CLIENT_SECRET="),
            "{credentials}"
        );
        let pool = format!("{}/pool ", directory.path().display());
        let mounted = || {
            std::fs::read_to_string("/proc/self/mountinfo")
                .unwrap()
                .contains(&pool)
        };
        assert!(mounted());
        Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(child.wait().unwrap().success(), "{signal}");
        assert!(!mounted(), "{signal}");
    }
}
