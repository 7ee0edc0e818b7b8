//! What the webhooks' matchConditions let through.

use serde_json::{Value, json};
use stillpoint_cluster::until;
use stillpoint_plugin::gate::door::Pace;

use crate::{
    contents::{Kind, marked},
    scene::{SOON, Scene},
};

/// A step of an object's life: what is done, and whether the gate is asked.
enum Step {
    /// With these changes to one that is good for a freeze.
    Create(Value, bool),
    Update(Value, bool),
    /// Never asked about.
    Status(Value),
}
use Step::{Create, Status, Update};

#[tokio::test(flavor = "multi_thread")]
async fn only_a_new_mark_on_a_content_that_is_cut_from_a_volume_is_asked_about() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.with_kinds().await;
    let gate = scene.ready_gate(Pace::default()).await;
    scene.ask(&gate, &gate, 10).await;
    scene.until_asked().await;
    for kind in [
        Kind::Content,
        Kind::Group("v1"),
        Kind::Group("v1beta2"),
        Kind::Group("v1beta1"),
    ] {
        for (number, (what, steps)) in lives(kind).into_iter().enumerate() {
            let version = match kind {
                Kind::Content => "content",
                Kind::Group(version) => version,
            };
            let name = format!("{version}-{number}");
            for (step, asked) in steps.into_iter().enumerate() {
                let expected = match asked {
                    Create(changes, asked) => {
                        scene.create_of(kind, &name, changes).await.unwrap();
                        asked
                    }
                    Update(changes, asked) => {
                        scene.update(kind, &name, changes).await.unwrap();
                        asked
                    }
                    Status(status) => {
                        scene.set_status(kind, &name, status).await;
                        false
                    }
                };
                let seen = scene.recorder.take();
                assert_eq!(
                    seen.len(),
                    usize::from(expected),
                    "{kind:?}, {what}, step {step}"
                );
                for request in seen {
                    assert_eq!(request.name, name);
                    assert_eq!(request.object.unwrap().metadata.name.unwrap(), name);
                }
            }
        }
    }
}

/// Lives of objects, each by what it shows.
fn lives(kind: Kind) -> Vec<(&'static str, Vec<Step>)> {
    let mark = || marked(kind);
    let with_mark = |mut changes: Value| {
        changes["metadata"] = mark()["metadata"].clone();
        changes
    };
    let other = json!({ "metadata": { "annotations": { "a": "b" } } });
    let no_mark = json!({ "metadata": { "annotations": { kind.mark(): null } } });
    let no_annotations = json!({ "metadata": { "annotations": null } });
    let handle = match kind {
        Kind::Content => json!({ "snapshotHandle": "h", "readyToUse": false }),
        Kind::Group(_) => json!({ "volumeGroupSnapshotHandle": "h", "readyToUse": false }),
    };
    // What Velero's restores and static provisioning have.
    let source = match kind {
        Kind::Content => json!({ "volumeHandle": null, "snapshotHandle": "h" }),
        Kind::Group(_) => json!({
            "volumeHandles": null,
            "groupSnapshotHandles": { "volumeGroupSnapshotHandle": "h", "volumeSnapshotHandles": ["s"] },
        }),
    };
    let failed = json!({ "error": { "message": "throttled" }, "readyToUse": false });
    let nothing = || json!({});
    vec![
        (
            "marked at last, and no more",
            vec![
                Create(nothing(), false),
                Update(mark(), true),
                Update(json!({ "metadata": { "labels": { "a": "b" } } }), false),
                Update(mark(), false),
                Update(no_mark.clone(), false),
            ],
        ),
        (
            "a retry",
            vec![
                Create(other.clone(), false),
                Update(mark(), true),
                Status(failed),
                Update(no_mark, false),
                Update(mark(), true),
                Update(no_annotations, false),
                Update(mark(), true),
            ],
        ),
        (
            "marked when it is made",
            vec![Create(mark(), true), Update(mark(), false)],
        ),
        (
            "cut already",
            vec![
                Create(nothing(), false),
                Status(handle.clone()),
                Update(mark(), false),
            ],
        ),
        (
            "a status that nobody takes over",
            vec![Create(with_mark(json!({ "status": handle })), true)],
        ),
        (
            "of a snapshot",
            vec![
                Create(json!({ "spec": { "source": source } }), false),
                Update(mark(), false),
            ],
        ),
        (
            "of another driver",
            vec![
                Create(json!({ "spec": { "driver": "file.csi.azure.com" } }), false),
                Update(mark(), false),
            ],
        ),
        (
            "without driver",
            vec![
                Create(json!({ "spec": { "driver": null } }), false),
                Update(mark(), false),
            ],
        ),
        (
            "without source",
            vec![
                Create(json!({ "spec": { "source": null } }), false),
                Update(mark(), false),
            ],
        ),
        (
            "with another annotation",
            vec![Create(nothing(), false), Update(other, false)],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_namespaces_that_the_chart_excludes_are_not_asked_about() {
    let excluded = json!({ "gate": { "excludeNamespaces": ["scratch", "ci"] } });
    let Some(scene) = Scene::start_with(&excluded).await else {
        return;
    };
    scene.with_kinds().await;
    let gate = scene.ready_gate(Pace::default()).await;
    scene.ask(&gate, &gate, 10).await;
    scene.until_asked().await;
    // Configurations are taken over a moment after they are written.
    let mut number = 0;
    let excluded = until("the condition is heeded", SOON, async || {
        number += 1;
        let mut content = marked(Kind::Content);
        content["spec"]["volumeSnapshotRef"]["namespace"] = json!("ci");
        scene.create(&format!("early-{number}"), content).await?;
        Ok(scene.recorder.take().is_empty().then_some(()))
    });
    excluded.await.unwrap();
    for (kind, field) in [
        (Kind::Content, "volumeSnapshotRef"),
        (Kind::Group("v1"), "volumeGroupSnapshotRef"),
    ] {
        for (namespace, is_asked) in [("shop", true), ("ci", false), ("scratch", false)] {
            let name = format!("{}-{namespace}", field.to_lowercase());
            let changes = json!({ "spec": { field: { "namespace": namespace } } });
            let asked = async || !scene.recorder.take().is_empty();
            scene.create_of(kind, &name, changes).await.unwrap();
            assert!(!asked().await, "{kind:?} is not marked");
            scene.update(kind, &name, marked(kind)).await.unwrap();
            assert_eq!(asked().await, is_asked, "{kind:?} in {namespace}");
        }
    }
}
