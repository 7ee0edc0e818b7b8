//! Snapshots: lifecycle, rules, moments.

use std::time::Duration;

use serde_json::{Value, json};
use stillpoint_lab::{Cut, Kind, NewDisk, ResourceId, Settings, Sku, settings::SnapshotSettings};

use crate::client::{Arm, lab, snapshot_of, until};

#[tokio::test]
async fn snapshot_is_creating_then_succeeded_and_cut_in_between() {
    let mut settings = Settings::fast();
    settings.snapshot.duration = Duration::from_millis(200);
    let Some(lab) = lab(settings).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |disk| disk.zone = Some("2".into()));
    let id = lab.snapshot_id("s");
    let mut body = snapshot_of(&disk);
    body["tags"] = json!({"velero.io-backup": "b"});
    let accepted = arm.put(&id, &body).await;
    assert_eq!(
        (accepted.status, accepted.header("retry-after")),
        (202, None)
    );
    assert_eq!(
        arm.get(&id).await.body["properties"]["provisioningState"],
        "Creating"
    );
    let location = accepted.header("location").unwrap();
    assert_eq!(arm.get(location).await.status, 202);
    let status = arm.finish(&accepted).await;
    assert_eq!(status["properties"]["output"]["name"], "s", "{status}");
    let shown = arm.get(&id).await.body;
    let properties = &shown["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded");
    assert_eq!(properties["completionPercent"], 100.0);
    assert_eq!(properties["diskSizeBytes"], 1u64 << 30);
    assert_eq!(
        properties["creationData"]["sourceUniqueId"],
        lab.disk(&disk).unwrap()["properties"]["uniqueId"]
    );
    assert_eq!(shown["sku"]["name"], "Standard_LRS");
    assert_eq!(shown["tags"]["velero.io-backup"], "b");
    for forgotten in ["zones", "properties.tier", "properties.diskIOPSReadWrite"] {
        let pointer = format!("/{}", forgotten.replace('.', "/"));
        assert_eq!(
            shown.pointer(&pointer),
            None,
            "a snapshot does not remember {forgotten}"
        );
    }
    assert_eq!(arm.get(location).await.body["name"], "s");

    let view = lab.snapshot(&id).unwrap();
    let (began, ended) = (view.cut_began.unwrap(), view.cut_ended.unwrap());
    assert!(
        view.accepted.monotonic <= began.monotonic
            && ended.monotonic <= view.succeeded.unwrap().monotonic
    );
    let took = view.succeeded.unwrap().since(&view.accepted);
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[tokio::test]
async fn chosen_cut_is_where_it_was_chosen() {
    let mut settings = Settings::fast();
    for (at, least, most) in [(0.0, 0, 150), (1.0, 300, 2000)] {
        settings.snapshot = SnapshotSettings {
            duration: Duration::from_millis(300),
            cut: Cut::At(at),
            ..SnapshotSettings::default()
        };
        let Some(lab) = lab(settings.clone()).await else {
            return;
        };
        let arm = Arm::login(&lab).await;
        let disk = arm.disk("d", |_| ());
        let id = arm.snapshot("s", &disk).await;
        let view = lab.snapshot(&id).unwrap();
        let cut = view.cut_began.unwrap().since(&view.accepted);
        assert!(
            cut >= Duration::from_millis(least) && cut < Duration::from_millis(most),
            "{at}: {cut:?}"
        );
    }
}

#[tokio::test]
async fn second_put_changes_tags_and_does_not_cut_again() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let (disk, other) = (arm.disk("d", |_| ()), arm.disk("other", |_| ()));
    let id = arm.snapshot("s", &disk).await;
    let before = lab.snapshot(&id).unwrap();
    let mut body = snapshot_of(&disk);
    body["tags"] = json!({"a": "b"});
    let again = arm
        .put(
            id.to_string()
                .to_uppercase()
                .replace("API-VERSION", "api-version"),
            &body,
        )
        .await;
    assert_eq!(arm.finish(&again).await["status"], "Succeeded");
    let after = lab.snapshot(&id).unwrap();
    assert_eq!(
        (after.cut_began, after.tags["a"].as_str()),
        (before.cut_began, "b")
    );
    let refused = arm.put(&id, &snapshot_of(&other)).await;
    assert_eq!(
        refused.refusal(),
        (409, "PropertyChangeNotAllowed"),
        "{}",
        refused.body
    );
    let patched = arm.patch(&id, &json!({"tags": {"c": "d"}})).await;
    assert_eq!(patched.status, 202);
    assert_eq!(arm.finish(&patched).await["status"], "Succeeded");
    assert_eq!(
        arm.get(&id).await.body["tags"],
        json!({"c": "d"}),
        "PATCH replaces the tags"
    );
}

#[tokio::test]
async fn running_operation_is_a_conflict_and_deletion_ends_gone() {
    let mut settings = Settings::fast();
    settings.snapshot.duration = Duration::from_millis(300);
    let Some(lab) = lab(settings).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    let id = lab.snapshot_id("s");
    let accepted = arm.put(&id, &snapshot_of(&disk)).await;
    assert_eq!(
        arm.put(&id, &snapshot_of(&disk)).await.refusal(),
        (409, "Conflict")
    );
    assert_eq!(arm.delete(&id).await.refusal(), (409, "Conflict"));
    arm.finish(&accepted).await;
    let file = lab.snapshot(&id).unwrap().file;
    assert!(file.exists());
    let deleted = arm.delete(&id).await;
    assert_eq!(deleted.status, 202);
    assert_eq!(arm.finish(&deleted).await["status"], "Succeeded");
    assert_eq!(arm.get(&id).await.refusal(), (404, "ResourceNotFound"));
    assert_eq!(arm.delete(&id).await.status, 204);
    assert!(!file.exists());
}

#[tokio::test]
async fn wrong_snapshots_are_refused() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    let ultra = arm.disk("u", |disk| {
        (disk.sku, disk.zone) = (Sku::UltraSsdLrs, Some("1".into()))
    });
    let subscription = uuid::Uuid::new_v4().to_string();
    lab.add_subscription(&subscription, &lab.endpoints().tenant);
    lab.add_resource_group(&subscription, "g", "westeurope")
        .unwrap();
    let elsewhere: ResourceId = format!(
        "/subscriptions/{subscription}/resourceGroups/g/providers/Microsoft.Compute/snapshots/s"
    )
    .parse()
    .unwrap();
    let id = lab.snapshot_id("s");
    let with = |pointer: &str, value: Value| {
        let mut body = snapshot_of(&disk);
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        body
    };
    let gone = lab.disk_id("gone");
    let cases: Vec<(&str, &ResourceId, Value, (u16, &str))> = vec![
        (
            "other region",
            &id,
            with("/location", json!("northeurope")),
            (400, "InvalidParameter"),
        ),
        (
            "no region",
            &id,
            with("/location", json!("atlantis")),
            (400, "LocationNotAvailableForResourceType"),
        ),
        (
            "source gone",
            &id,
            snapshot_of(&gone),
            (404, "ResourceNotFound"),
        ),
        (
            "source is no ID",
            &id,
            with("/properties/creationData/sourceResourceId", json!("d")),
            (400, "InvalidParameter"),
        ),
        (
            "no option",
            &id,
            with("/properties/creationData/createOption", Value::Null),
            (400, "InvalidParameter"),
        ),
        (
            "copy start",
            &id,
            with("/properties/creationData/createOption", json!("CopyStart")),
            (409, "OperationNotAllowed"),
        ),
        (
            "tag",
            &id,
            with("/tags", json!({"velero.io/backup": "x"})),
            (400, "InvalidTagNameCharacters"),
        ),
        (
            "unknown property",
            &id,
            with("/properties/zone", json!("1")),
            (400, "InvalidRequestContent"),
        ),
        (
            "unknown member",
            &id,
            with("/foo", json!("1")),
            (400, "InvalidRequestContent"),
        ),
        (
            "zones",
            &id,
            with("/zones", json!(["1"])),
            (400, "InvalidParameter"),
        ),
        (
            "sku",
            &id,
            with("/sku", json!({"name": "UltraSSD_LRS"})),
            (400, "InvalidParameter"),
        ),
        (
            "full of an Ultra",
            &id,
            {
                let mut b = snapshot_of(&ultra);
                b["properties"]["incremental"] = json!(false);
                b
            },
            (409, "OperationNotAllowed"),
        ),
        (
            "other subscription",
            &elsewhere,
            snapshot_of(&disk),
            (409, "OperationNotAllowed"),
        ),
        (
            "encryption set",
            &id,
            with(
                "/properties/encryption",
                json!({"diskEncryptionSetId": lab.disk_id("x").to_string().replace("disks", "diskEncryptionSets")}),
            ),
            (404, "ResourceNotFound"),
        ),
        (
            "private without access",
            &id,
            with("/properties/networkAccessPolicy", json!("AllowPrivate")),
            (400, "InvalidParameter"),
        ),
    ];
    for (case, id, body, expected) in cases {
        let reply = arm.put(id, &body).await;
        assert_eq!(reply.refusal(), expected, "{case}: {}", reply.body);
    }
    let long = lab.snapshot_id(&"s".repeat(81));
    assert_eq!(
        arm.put(&long, &snapshot_of(&disk)).await.refusal(),
        (400, "InvalidParameter")
    );
    let fine = arm
        .put(&elsewhere, &{
            let mut b = snapshot_of(&disk);
            b["properties"]["incremental"] = json!(false);
            b
        })
        .await;
    assert_eq!(
        fine.status, 202,
        "full snapshots may be in another subscription: {}",
        fine.body
    );
    let mut read_only = snapshot_of(&disk);
    read_only["properties"]["timeCreated"] = json!("2020-01-01");
    assert_eq!(arm.put(&id, &read_only).await.status, 202);
    let ignored: Vec<_> = lab
        .requests()
        .into_iter()
        .flat_map(|request| request.ignored)
        .collect();
    assert_eq!(ignored, ["properties.timeCreated"]);
}

#[tokio::test]
async fn eighth_incremental_snapshot_in_five_minutes_fails() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    for n in 0..7 {
        arm.snapshot(&format!("s{n}"), &disk).await;
    }
    let id = lab.snapshot_id("s7");
    let accepted = arm.put(&id, &snapshot_of(&disk)).await;
    let status = arm.finish(&accepted).await;
    assert_eq!(
        (&status["status"], &status["error"]["code"]),
        (&json!("Failed"), &json!("SnapshotsLimitReached"))
    );
    assert_eq!(lab.snapshot(&id).unwrap().state, "Failed");
    lab.change_settings(|settings| settings.incremental.window = Duration::ZERO);
    arm.snapshot("s8", &disk).await;
    lab.change_settings(|settings| settings.incremental.total = 8);
    let status = arm
        .finish(&arm.put(lab.snapshot_id("s9"), &snapshot_of(&disk)).await)
        .await;
    assert_eq!(status["error"]["code"], "SnapshotsLimitReached");
}

#[tokio::test]
async fn premium_v2_is_copied_in_the_background() {
    let mut settings = Settings::fast();
    settings.snapshot.copy = Duration::from_millis(1500);
    let Some(lab) = lab(settings).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let v2 = |disk: &mut NewDisk| (disk.sku, disk.zone) = (Sku::PremiumV2Lrs, Some("3".into()));
    let disk = arm.disk("d", v2);
    let id = arm.snapshot("s", &disk).await;
    let percent = |body: &Value| body["properties"]["completionPercent"].as_f64().unwrap();
    let shown = arm.get(&id).await.body;
    assert!(percent(&shown) < 100.0, "{shown}");
    assert_eq!(
        shown["properties"]["creationData"]["logicalSectorSize"],
        4096
    );
    let copy = |name: &str, source: &ResourceId| {
        (
            lab.disk_id(name),
            json!({"location": "westeurope", "zones": ["1"], "sku": {"name": "PremiumV2_LRS"},
            "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": source, "logicalSectorSize": 4096}}}),
        )
    };
    let (early, body) = copy("early", &id);
    assert_eq!(
        arm.put(&early, &body).await.refusal(),
        (409, "OperationNotAllowed")
    );
    arm.snapshot("s1", &disk).await;
    arm.snapshot("s2", &disk).await;
    let fourth = arm.put(lab.snapshot_id("s3"), &snapshot_of(&disk)).await;
    assert_eq!(
        fourth.refusal(),
        (409, "OperationNotAllowed"),
        "three pending: {}",
        fourth.body
    );
    until(|| async { (percent(&arm.get(&id).await.body) == 100.0).then_some(()) }).await;
    lab.change_settings(|settings| settings.disk_duration = Duration::from_secs(2));
    for n in 0..6 {
        let (target, body) = copy(&format!("copy{n}"), &id);
        let reply = arm.put(&target, &body).await;
        assert_eq!(
            reply.status,
            if n < 5 { 202 } else { 409 },
            "{n}: {}",
            reply.body
        );
    }
    // Growing the disk fails what is still being copied.
    lab.change_settings(|settings| settings.snapshot.copy = Duration::from_secs(600));
    let pending = arm.snapshot("s4", &disk).await;
    arm.patch(&disk, &json!({"properties": {"diskSizeGB": 2}}))
        .await;
    assert_eq!(lab.snapshot(&pending).unwrap().state, "Failed");
}

#[tokio::test]
async fn lists_have_pages_and_shout_groups() {
    let Some(lab) = lab(Settings {
        page_size: 2,
        ..Settings::fast()
    })
    .await
    else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    for n in 0..5 {
        arm.snapshot(&format!("s{n}"), &disk).await;
    }
    let subscription = &lab.endpoints().subscription;
    let whole = format!("/subscriptions/{subscription}/providers/Microsoft.Compute/snapshots");
    let group = lab.snapshot_id("x").to_string();
    for (path, shouts) in [
        (whole.as_str(), true),
        (group.trim_end_matches("/x"), false),
    ] {
        let mut next = Some(path.to_owned());
        let mut seen = Vec::new();
        while let Some(page) = next {
            let body = arm.get(page).await.body;
            seen.extend(
                body["value"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|s| s["id"].as_str().unwrap().to_owned()),
            );
            next = body["nextLink"].as_str().map(Into::into);
        }
        assert_eq!(seen.len(), 5, "{path}");
        assert_eq!(seen[0].contains("STILLPOINT-LAB"), shouts, "{seen:?}");
        assert_eq!(seen[0].parse::<ResourceId>().unwrap().kind, Kind::Snapshot);
    }
}
