//! The VolumeSnapshotter service, with use cases that do as the test says.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use stillpoint_lab::host::Snapshotter;
use tonic::Code;

use super::{InProcess, NAME, fake::FakeError, start};

/// go-plugin's patience after Shutdown.
const KILLED_AFTER: Duration = Duration::from_secs(2);

impl InProcess {
    fn snapshotter(&self) -> Snapshotter {
        Snapshotter::new(NAME, self.channel.clone())
    }

    async fn initialized(&self) -> Snapshotter {
        let snapshotter = self.snapshotter();
        snapshotter.init(&[("resourceGroup", "rg")]).await.unwrap();
        snapshotter
    }
}

#[tokio::test]
async fn every_method_is_decoded_and_encoded() {
    let plugin = start().await;
    let snapshotter = plugin.initialized().await;
    let pv = json!({"spec": {"disk": "d", "unknown": [1, 2.5, null]}, "kind": "PersistentVolume"});

    assert_eq!(
        snapshotter.volume_id(&pv).await.unwrap().as_deref(),
        Some("d")
    );
    assert_eq!(snapshotter.volume_id(&json!({})).await.unwrap(), None);
    let info = snapshotter.volume_info("d", "westeurope-1").await.unwrap();
    assert_eq!(info, ("Premium_LRS in westeurope-1".to_owned(), Some(500)));
    let info = snapshotter.volume_info("d", "").await.unwrap();
    assert_eq!(info, ("Premium_LRS".to_owned(), None));

    let tags = [("velero.io/backup", "b"), ("velero.io/pv", "p")];
    let snapshot = snapshotter
        .create_snapshot("d", "westeurope-1", &tags)
        .await
        .unwrap();
    assert_eq!(snapshot, "d@westeurope-1 velero.io/backup=b velero.io/pv=p");
    let volume = snapshotter
        .create_volume("s", "Premium_LRS", "", Some(9))
        .await
        .unwrap();
    assert_eq!(volume, "s Premium_LRS None Some(9)");
    let volume = snapshotter
        .create_volume("s", "t", "z", None)
        .await
        .unwrap();
    assert_eq!(volume, "s t Some(\"z\") None");
    snapshotter.delete_snapshot("s").await.unwrap();

    let changed = snapshotter.set_volume_id(&pv, "new").await.unwrap();
    assert_eq!(
        changed["spec"],
        json!({"disk": "new", "unknown": [1, 2.5, null]})
    );
    // Also in its order.
    assert!(
        changed.to_string().starts_with("{\"spec\":{\"disk\""),
        "{changed}"
    );
}

#[tokio::test]
async fn calls_before_init_and_to_other_names_are_refused() {
    let plugin = start().await;
    let error = plugin.snapshotter().delete_snapshot("s").await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    // Each name is initialized for itself.
    let _ = plugin.initialized().await;
    let other = Snapshotter::new("velero.io/azure", plugin.channel.clone());
    let error = other.delete_snapshot("s").await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(
        error
            .message()
            .contains("velero.io/azure was not initialized"),
        "{error}"
    );
    let other = Snapshotter::new("velero.io/aws", plugin.channel.clone());
    for error in [
        other.init(&[]).await.unwrap_err(),
        other.volume_id(&json!({})).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("velero.io/aws"), "{error}");
    }
}

#[tokio::test]
async fn config_is_opened_once_and_last_init_counts() {
    let plugin = start().await;
    let snapshotter = plugin.snapshotter();
    for group in ["a", "b", "a", "b", "a"] {
        snapshotter.init(&[("resourceGroup", group)]).await.unwrap();
        assert_eq!(
            snapshotter
                .create_volume("group", "", "", None)
                .await
                .unwrap(),
            group
        );
    }
    assert_eq!(plugin.disks.opened(), 2);
}

#[tokio::test]
async fn inits_at_once_open_once() {
    let plugin = start().await;
    let inits = (0..20).map(|_| {
        let snapshotter = plugin.snapshotter();
        async move { snapshotter.init(&[("resourceGroup", "rg")]).await }
    });
    for init in futures::future::join_all(inits).await {
        init.unwrap();
    }
    assert_eq!(plugin.disks.opened(), 1);
}

#[tokio::test]
async fn failed_init_is_told_and_leaves_no_other_location_in_its_place() {
    let plugin = start().await;
    let snapshotter = plugin.initialized().await;
    for _ in 0..2 {
        let error = snapshotter
            .init(&[("resurceGroup", "rg")])
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.message(), "unknown key resurceGroup");
    }
    let error = snapshotter.create_snapshot("d", "", &[]).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(
        error.message().contains("unknown key resurceGroup"),
        "{error}"
    );
    plugin
        .initialized()
        .await
        .create_snapshot("d", "", &[])
        .await
        .unwrap();
}

#[tokio::test]
async fn errors_keep_their_code() {
    let plugin = start().await;
    let snapshotter = plugin.initialized().await;
    let error = snapshotter.delete_snapshot("missing").await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(error.message(), FakeError::Missing.to_string());
    let error = snapshotter.delete_snapshot("defect").await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    snapshotter.delete_snapshot("s").await.unwrap();
}

#[tokio::test]
async fn bad_persistent_volume_is_refused() {
    let plugin = start().await;
    let _ = plugin.initialized().await;
    let mut client =
        stillpoint_proto::velero::volume_snapshotter_client::VolumeSnapshotterClient::new(
            plugin.channel.clone(),
        );
    let request = stillpoint_proto::velero::GetVolumeIdRequest {
        plugin: NAME.to_owned(),
        persistent_volume: b"{\"spec\":".to_vec(),
    };
    let error = client.get_volume_id(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("EOF"), "{error}");
}

#[tokio::test]
async fn calls_overlap() {
    let plugin = start().await;
    let snapshotter = plugin.initialized().await;
    // Each waits until all are there.
    let calls = (0..8).map(|_| snapshotter.create_snapshot("meeting of 8", "", &[]));
    for call in futures::future::join_all(calls).await {
        call.unwrap();
    }
}

#[tokio::test]
async fn large_persistent_volume_passes() {
    let plugin = start().await;
    let snapshotter = plugin.initialized().await;
    let pv = json!({"spec": {"disk": "d"}, "metadata": "x".repeat(6 << 20)});
    assert_eq!(
        snapshotter.volume_id(&pv).await.unwrap().as_deref(),
        Some("d")
    );
}

#[tokio::test]
async fn cancelled_call_cleans_up() {
    let plugin = start().await;
    let snapshotter = plugin.initialized().await;
    let call = tokio::spawn(async move { snapshotter.create_snapshot("slow", "", &[]).await });
    plugin.disks.begun("slow").await;
    call.abort();
    plugin.disks.cleaned("slow").await;
}

#[tokio::test]
async fn broken_connection_cleans_up() {
    let plugin = start().await;
    let _ = plugin.initialized().await;
    let channel = plugin.handshake.connect(None).await.unwrap();
    let call = tokio::spawn(async move {
        Snapshotter::new(NAME, channel)
            .create_snapshot("slow", "", &[])
            .await
    });
    plugin.disks.begun("slow").await;
    // Drops the call and its only channel.
    call.abort();
    plugin.disks.cleaned("slow").await;
}

#[tokio::test]
async fn shutdown_lets_calls_in_flight_clean_up() {
    let plugin = start().await;
    let snapshotter = plugin.initialized().await;
    let call = tokio::spawn(async move { snapshotter.create_snapshot("slow", "", &[]).await });
    plugin.disks.begun("slow").await;
    let disks = Arc::clone(&plugin.disks);
    let took = plugin.shut_down().await;
    disks.cleaned("slow").await;
    // The caller still hears of it.
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Cancelled, "{error}");
    assert!(took < KILLED_AFTER, "{took:?}");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let plugin = start().await;
    let snapshotter = plugin.initialized().await;
    let call = tokio::spawn(async move { snapshotter.create_snapshot("stubborn", "", &[]).await });
    plugin.disks.begun("stubborn").await;
    let took = plugin.shut_down().await;
    assert!(
        (Duration::from_secs(1)..KILLED_AFTER).contains(&took),
        "{took:?}"
    );
    call.abort();
}

#[tokio::test]
async fn idle_plugin_shuts_down_in_time() {
    let plugin = start().await;
    let _ = plugin.initialized().await;
    let took = plugin.shut_down().await;
    assert!(took < KILLED_AFTER, "{took:?}");
}
