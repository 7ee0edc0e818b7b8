//! Disks: where they may be, what they may be, made from snapshots.

use std::{fs::File, io::Write as _};

use serde_json::{Value, json};
use stillpoint_lab::{ResourceId, Settings, Sku};

use crate::client::{Arm, lab};

#[tokio::test]
async fn disk_of_a_snapshot_has_its_data_and_keeps_it_when_grown() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    let mut file = File::options()
        .write(true)
        .open(lab.disk_file(&disk).unwrap())
        .unwrap();
    file.write_all(b"still").unwrap();
    let snapshot = arm.snapshot("s", &disk).await;
    file.write_all(b"moved").unwrap();
    lab.delete_disk(&disk);
    let id = lab.disk_id("restored");
    let accepted = arm
        .put(
            &id,
            &json!({"location": "West Europe", "zones": ["3"], "sku": {"name": "Premium_LRS"}, "tags": {"a": "b"},
            "properties": {"diskSizeGB": 2, "networkAccessPolicy": "DenyAll", "tier": "P10",
                "creationData": {"createOption": "Copy", "sourceResourceId": snapshot}}}),
        )
        .await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    assert_eq!(arm.finish(&accepted).await["status"], "Succeeded");
    let shown = arm.get(&id).await.body;
    assert_eq!(shown["zones"], json!(["3"]));
    assert_eq!(shown["properties"]["tier"], "P10");
    assert_eq!(shown["properties"]["diskSizeGB"], 2);
    assert_eq!(shown["properties"]["provisioningState"], "Succeeded");
    let data = std::fs::read(lab.disk_file(&id).unwrap()).unwrap();
    assert_eq!(
        (data.len(), &data[..10]),
        (2 << 30, &b"still\0\0\0\0\0"[..])
    );
    drop(data);
    let grown = arm
        .patch(&id, &json!({"properties": {"diskSizeGB": 3}}))
        .await;
    assert_eq!(grown.status, 202, "{}", grown.body);
    arm.finish(&grown).await;
    assert_eq!(
        std::fs::metadata(lab.disk_file(&id).unwrap())
            .unwrap()
            .len(),
        3 << 30
    );
    let shrunk = arm
        .patch(&id, &json!({"properties": {"diskSizeGB": 1}}))
        .await;
    assert_eq!(shrunk.refusal(), (409, "OperationNotAllowed"));
}

#[tokio::test]
async fn disks_follow_azures_rules() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let set: ResourceId = lab
        .disk_id("set")
        .to_string()
        .replace("/disks/", "/diskEncryptionSets/")
        .parse()
        .unwrap();
    lab.register(&set, "westeurope");
    let disk = |location: &str, sku: &str, zones: Value, properties: Value| {
        let mut all = json!({"creationData": {"createOption": "Empty"}, "diskSizeGB": 64});
        for (name, value) in properties.as_object().unwrap() {
            all[name] = value.clone();
        }
        json!({"location": location, "sku": {"name": sku}, "zones": zones, "properties": all})
    };
    let we = "westeurope";
    let none = || json!([]);
    let one = || json!(["1"]);
    let cases = [
        (
            "regional",
            disk(we, "Premium_LRS", none(), json!({})),
            (202, ""),
        ),
        (
            "zone of the region",
            disk(we, "Premium_LRS", one(), json!({})),
            (202, ""),
        ),
        (
            "no such zone",
            disk(we, "Premium_LRS", json!(["4"]), json!({})),
            (400, "InvalidAvailabilityZone"),
        ),
        (
            "a zone as labels have it",
            disk(we, "Premium_LRS", json!(["westeurope-1"]), json!({})),
            (400, "InvalidAvailabilityZone"),
        ),
        (
            "two zones",
            disk(we, "Premium_LRS", json!(["1", "2"]), json!({})),
            (400, "InvalidParameter"),
        ),
        (
            "zone in a region without",
            disk("westus", "Premium_LRS", one(), json!({})),
            (400, "LocationNotSupportAvailabilityZones"),
        ),
        (
            "zone-redundant",
            disk(we, "Premium_ZRS", none(), json!({})),
            (202, ""),
        ),
        (
            "zone-redundant with zone",
            disk(we, "StandardSSD_ZRS", one(), json!({})),
            (400, "InvalidParameter"),
        ),
        (
            "zone-redundant without zones",
            disk("westus", "Premium_ZRS", none(), json!({})),
            (400, "InvalidParameter"),
        ),
        (
            "PremiumV2 needs a zone",
            disk(we, "PremiumV2_LRS", none(), json!({})),
            (400, "InvalidParameter"),
        ),
        (
            "PremiumV2",
            disk(
                we,
                "PremiumV2_LRS",
                one(),
                json!({"diskIOPSReadWrite": 5000, "diskMBpsReadWrite": 200}),
            ),
            (202, ""),
        ),
        (
            "PremiumV2 regional",
            disk("westus", "PremiumV2_LRS", none(), json!({})),
            (202, ""),
        ),
        (
            "too many IOPS",
            disk(
                we,
                "PremiumV2_LRS",
                one(),
                json!({"diskIOPSReadWrite": 90000}),
            ),
            (400, "InvalidParameter"),
        ),
        (
            "IOPS of a Premium",
            disk(we, "Premium_LRS", one(), json!({"diskIOPSReadWrite": 5000})),
            (400, "InvalidParameter"),
        ),
        (
            "tier",
            disk(we, "Premium_LRS", one(), json!({"tier": "P30"})),
            (202, ""),
        ),
        (
            "tier below size",
            disk(we, "Premium_LRS", one(), json!({"tier": "P4"})),
            (400, "InvalidParameter"),
        ),
        (
            "tier of a Standard",
            disk(we, "Standard_LRS", one(), json!({"tier": "P30"})),
            (400, "InvalidParameter"),
        ),
        (
            "bursting of a small one",
            disk(we, "Premium_LRS", one(), json!({"burstingEnabled": true})),
            (400, "InvalidParameter"),
        ),
        (
            "bursting",
            disk(
                we,
                "Premium_LRS",
                one(),
                json!({"burstingEnabled": true, "diskSizeGB": 1024}),
            ),
            (202, ""),
        ),
        (
            "no SKU",
            disk(we, "Best_LRS", one(), json!({})),
            (400, "InvalidParameter"),
        ),
        (
            "snapshot SKU",
            disk(we, "Standard_ZRS", none(), json!({})),
            (400, "InvalidParameter"),
        ),
        (
            "no size",
            disk(we, "Premium_LRS", one(), json!({"diskSizeGB": null})),
            (400, "InvalidParameter"),
        ),
        (
            "too large",
            disk(we, "Premium_LRS", one(), json!({"diskSizeGB": 40000})),
            (400, "InvalidParameter"),
        ),
        (
            "encryption set",
            disk(
                we,
                "Premium_LRS",
                one(),
                json!({"encryption": {"type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": set}}),
            ),
            (202, ""),
        ),
        (
            "encryption set elsewhere",
            disk(
                "northeurope",
                "Premium_LRS",
                one(),
                json!({"encryption": {"diskEncryptionSetId": set}}),
            ),
            (400, "InvalidParameter"),
        ),
        (
            "customer key without set",
            disk(
                we,
                "Premium_LRS",
                one(),
                json!({"encryption": {"type": "EncryptionAtRestWithCustomerKey"}}),
            ),
            (400, "InvalidParameter"),
        ),
        (
            "sectors of a Premium",
            disk(
                we,
                "Premium_LRS",
                one(),
                json!({"creationData": {"createOption": "Empty", "logicalSectorSize": 4096}}),
            ),
            (400, "InvalidParameter"),
        ),
        (
            "512 sectors of an Ultra",
            disk(
                we,
                "UltraSSD_LRS",
                one(),
                json!({"creationData": {"createOption": "Empty", "logicalSectorSize": 512}}),
            ),
            (202, ""),
        ),
    ];
    for (n, (case, body, expected)) in cases.into_iter().enumerate() {
        let reply = arm.put(lab.disk_id(&format!("d{n}")), &body).await;
        assert_eq!(reply.refusal(), expected, "{case}: {}", reply.body);
    }
}

#[tokio::test]
async fn copies_keep_the_sector_size_and_do_not_shrink() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let premium = arm.disk("p", |disk| disk.gib = 4);
    let snapshot = arm.snapshot("s", &premium).await;
    let copy = |sku: &str, more: Value| {
        let mut creation = json!({"createOption": "Copy", "sourceResourceId": snapshot});
        if let Some(size) = more.get("sector") {
            creation["logicalSectorSize"] = size.clone();
        }
        let mut properties = json!({"creationData": creation});
        if let Some(size) = more.get("gib") {
            properties["diskSizeGB"] = size.clone();
        }
        let location = more.get("location").cloned().unwrap_or(json!("westeurope"));
        json!({"location": location, "sku": {"name": sku}, "zones": ["1"], "properties": properties})
    };
    let cases = [
        (
            "default sectors of PremiumV2",
            copy("PremiumV2_LRS", json!({})),
            (400, "InvalidParameter"),
        ),
        (
            "512 given",
            copy("PremiumV2_LRS", json!({"sector": 512})),
            (202, ""),
        ),
        (
            "smaller",
            copy("Premium_LRS", json!({"gib": 3})),
            (400, "InvalidParameter"),
        ),
        (
            "another region",
            copy("Premium_LRS", json!({"location": "northeurope"})),
            (400, "InvalidParameter"),
        ),
        (
            "size of the source",
            copy("StandardSSD_LRS", json!({})),
            (202, ""),
        ),
    ];
    for (n, (case, body, expected)) in cases.into_iter().enumerate() {
        let reply = arm.put(lab.disk_id(&format!("d{n}")), &body).await;
        assert_eq!(reply.refusal(), expected, "{case}: {}", reply.body);
    }
}

#[tokio::test]
async fn attached_disk_is_not_deleted_and_fixed_properties_stay() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |disk| {
        (disk.sku, disk.zone) = (Sku::PremiumLrs, Some("1".into()))
    });
    let machine = lab
        .disk_id("vm")
        .to_string()
        .replace("/disks/", "/virtualMachines/")
        .parse()
        .unwrap();
    lab.attach(&disk, Some(machine)).unwrap();
    assert_eq!(
        arm.get(&disk).await.body["properties"]["diskState"],
        "Attached"
    );
    assert_eq!(
        arm.delete(&disk).await.refusal(),
        (409, "OperationNotAllowed")
    );
    lab.attach(&disk, None).unwrap();
    let zone = arm
        .put(&disk, &json!({"location": "westeurope", "zones": ["2"]}))
        .await;
    assert_eq!(zone.refusal(), (409, "PropertyChangeNotAllowed"));
    let moved = arm.put(&disk, &json!({"location": "northeurope"})).await;
    assert_eq!(moved.refusal(), (409, "InvalidResourceLocation"));
    let sku = arm
        .patch(&disk, &json!({"sku": {"name": "PremiumV2_LRS"}}))
        .await;
    assert_eq!(sku.refusal(), (409, "PropertyChangeNotAllowed"));
    let deleted = arm.delete(disk.to_string().to_uppercase()).await;
    assert_eq!(deleted.status, 202);
    arm.finish(&deleted).await;
    assert_eq!(arm.delete(&disk).await.status, 204);
}

#[tokio::test]
async fn skus_tell_the_zones_of_a_region() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let path = format!(
        "/subscriptions/{}/providers/Microsoft.Compute/skus",
        lab.endpoints().subscription
    );
    for (location, zones, redundant) in [("westeurope", 3, true), ("westus", 0, false)] {
        let query = format!("{path}?api-version=2021-07-01&$filter=location%20eq%20'{location}'");
        let body = arm.get(query).await.body;
        let skus = body["value"].as_array().unwrap();
        let of = |name: &str| {
            skus.iter()
                .find(|sku| sku["name"] == name && sku["resourceType"] == "disks")
        };
        assert_eq!(
            of("Premium_LRS").unwrap()["locationInfo"][0]["zones"]
                .as_array()
                .unwrap()
                .len(),
            zones
        );
        assert_eq!(of("Premium_ZRS").is_some(), redundant, "{location}");
    }
    assert_eq!(
        arm.get(path).await.refusal(),
        (400, "NoRegisteredProviderFound"),
        "skus have versions of their own"
    );
}
