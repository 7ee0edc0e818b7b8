//! Which requests are attempts.

use k8s_openapi::jiff::Timestamp;
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionReview},
};
use serde_json::{Value, json};

use crate::gate::{attempt::Attempt, ports::Kind};

const DISK: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d";
const MARK: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
const GROUP_MARK: &str = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-created";
const NOW: &str = "2026-11-25T12:00:01Z";

fn content() -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": {
            "name": "snapcontent-1", "uid": "c-1", "creationTimestamp": "2026-11-25T12:00:00Z",
            "annotations": { MARK: "yes" },
        },
        "spec": {
            "driver": "disk.csi.azure.com", "deletionPolicy": "Delete", "volumeSnapshotClassName": "azure",
            "source": { "volumeHandle": DISK },
            "volumeSnapshotRef": { "namespace": "shop", "name": "nightly", "uid": "u-1" },
        },
    })
}

fn group() -> Value {
    json!({
        "apiVersion": "groupsnapshot.storage.k8s.io/v1", "kind": "VolumeGroupSnapshotContent",
        "metadata": {
            "name": "groupsnapcontent-1", "uid": "g-1", "creationTimestamp": "2026-11-25T12:00:00Z",
            "annotations": { GROUP_MARK: "yes" },
        },
        "spec": {
            "driver": "hostpath.csi.k8s.io", "deletionPolicy": "Delete", "volumeGroupSnapshotClassName": "all",
            "source": { "volumeHandles": ["a", "b"] },
            "volumeGroupSnapshotRef": { "namespace": "shop", "name": "nightly", "uid": "u-1" },
        },
    })
}

fn without_mark(mut object: Value) -> Value {
    object["metadata"]["annotations"] = json!({});
    object
}

fn request(object: &Value, old: Option<&Value>, more: Value) -> AdmissionRequest<DynamicObject> {
    let resource = if object["kind"] == "VolumeSnapshotContent" {
        ("snapshot.storage.k8s.io", "volumesnapshotcontents")
    } else {
        (
            "groupsnapshot.storage.k8s.io",
            "volumegroupsnapshotcontents",
        )
    };
    let mut request = json!({
        "uid": "r-1", "name": object["metadata"]["name"], "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
        "kind": { "group": resource.0, "version": "v1", "kind": object["kind"] },
        "resource": { "group": resource.0, "version": "v1", "resource": resource.1 },
        "userInfo": {}, "object": object, "oldObject": old, "dryRun": false,
    });
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    let review: AdmissionReview<DynamicObject> = serde_json::from_value(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
    }))
    .unwrap();
    review.request.unwrap()
}

fn read(object: &Value, old: Option<&Value>, more: Value) -> Option<Attempt> {
    let now: Timestamp = NOW.parse().unwrap();
    Attempt::read(&request(object, old, more), now).unwrap()
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = content();
    change(&mut object);
    object
}

#[test]
fn a_mark_that_is_newly_set_is_an_attempt() {
    let attempt = read(&content(), Some(&without_mark(content())), json!({})).unwrap();
    assert_eq!(attempt.content.kind, Kind::Snapshot);
    assert_eq!(attempt.content.uid, "c-1");
    assert_eq!(
        (&*attempt.snapshot.namespace, &*attempt.snapshot.uid),
        ("shop", "u-1")
    );
    assert_eq!(attempt.volumes[0].disk().unwrap().name, "d");
    assert_eq!(attempt.class.as_deref(), Some("azure"));
    assert!(attempt.first && !attempt.consistent_already);

    let attempt = read(&group(), Some(&without_mark(group())), json!({})).unwrap();
    assert_eq!(
        (attempt.content.kind, attempt.volumes.len()),
        (Kind::Group, 2)
    );
    assert_eq!(attempt.volumes[1].to_string(), "hostpath.csi.k8s.io^b");
    assert_eq!(attempt.class.as_deref(), Some("all"));
}

#[test]
fn other_requests_are_none() {
    let old = without_mark(content());
    let marked = content();
    let is_static = changed(|content| {
        content["spec"]["source"] = json!({ "snapshotHandle": "s" });
    });
    let created = changed(|content| content["status"] = json!({ "snapshotHandle": "s" }));
    let deleted = changed(|content| {
        content["metadata"]["deletionTimestamp"] = json!("2026-11-25T12:00:00Z");
    });
    for (what, object, old, more) in [
        ("not marked", &old, Some(&old), json!({})),
        ("marked before", &marked, Some(&marked), json!({})),
        ("a dry run", &marked, Some(&old), json!({ "dryRun": true })),
        (
            "its status",
            &marked,
            Some(&old),
            json!({ "subResource": "status" }),
        ),
        ("a static handle", &is_static, Some(&old), json!({})),
        (
            "created already",
            &marked,
            Some(&without_mark(created)),
            json!({}),
        ),
        ("being deleted", &deleted, Some(&old), json!({})),
    ] {
        assert_eq!(read(object, old, more), None, "{what}");
    }
}

#[test]
fn an_attempt_is_the_first_only_if_nothing_speaks_of_another() {
    let failed = changed(|content| content["status"] = json!({ "error": { "message": "403" } }));
    let held = changed(|content| {
        content["metadata"]["annotations"] = json!({ "stillpoint.io/hold": "h" });
    });
    let older = changed(|content| {
        content["metadata"]["creationTimestamp"] = json!("2026-11-25T11:59:50Z");
    });
    for (what, object) in [("failed", failed), ("held", held), ("older", older)] {
        let old = if what == "held" {
            object
        } else {
            without_mark(object)
        };
        let mut new = content();
        new["metadata"]["creationTimestamp"] = old["metadata"]["creationTimestamp"].clone();
        let attempt = read(&new, Some(&old), json!({})).unwrap();
        assert!(!attempt.first, "{what}");
    }
}

#[test]
fn a_consistent_copy_is_believed_only_when_its_verdict_is_there() {
    for (state, consistency, expected) in [
        ("complete", "filesystem", true),
        ("complete", "unmounted", true),
        ("complete", "crash", false),
        ("pending", "filesystem", false),
    ] {
        let old = changed(|content| {
            content["metadata"]["annotations"] =
                json!({ "stillpoint.io/state": state, "stillpoint.io/consistency": consistency });
        });
        let attempt = read(&content(), Some(&old), json!({})).unwrap();
        assert_eq!(
            attempt.consistent_already, expected,
            "{state} {consistency}"
        );
    }
}

#[test]
fn a_handle_that_is_no_disk_is_told() {
    let odd = changed(|content| content["spec"]["source"]["volumeHandle"] = json!("d-1"));
    let request = request(&odd, None, json!({}));
    let reason = Attempt::read(&request, NOW.parse().unwrap()).unwrap_err();
    assert!(reason.contains("`d-1`"), "{reason}");
}
