//! Reviews that a real API server asks for.

use std::time::{Duration, Instant};

use kube::core::admission::Operation;
use serde_json::json;
use stillpoint_plugin::gate::door::Pace;

use crate::{
    contents::{Kind, marked},
    scene::{SOON, Scene},
};

async fn until(permits: Option<&tokio::sync::Semaphore>) {
    let permit = tokio::time::timeout(SOON, permits.unwrap().acquire()).await;
    permit.expect("it comes soon").unwrap().forget();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_asks_and_its_patience_and_dry_runs_are_known() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.with_kinds().await;
    let gate = scene.ready_gate(Pace::default()).await;
    scene.ask(&gate, &gate, 7).await;
    scene.until_asked().await;
    scene.create("a", json!({})).await.unwrap();
    let params = kube::api::PatchParams {
        dry_run: true,
        ..Default::default()
    };
    let patch = kube::api::Patch::Merge(marked(Kind::Content));
    let tried = scene.api(Kind::Content).patch("a", &params, &patch).await;
    tried.unwrap();
    scene.mark("a").await.unwrap();
    let [dry, real] = scene.recorder.take().try_into().unwrap();
    assert!(dry.dry_run && !real.dry_run);
    assert_eq!(real.operation, Operation::Update);
    assert!(real.old_object.unwrap().metadata.annotations.is_none());
    assert_eq!(real.user_info.username.as_deref(), Some("admin"));
    let within = *scene.recorder.within.lock().unwrap();
    assert!(
        within > Duration::from_secs(5) && within < Duration::from_secs(7),
        "{within:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_the_api_server_and_an_api_server_that_gives_up_end_the_review() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.with_kinds().await;
    let gate = scene.ready_gate(Pace::default()).await;
    scene.ask(&gate, &gate, 30).await;
    scene.until_asked().await;
    let (begun, dropped) = (
        scene.recorder.begun.as_ref(),
        scene.recorder.dropped.as_ref(),
    );
    begun.unwrap().forget_permits(usize::MAX);
    scene.create("hang", json!({})).await.unwrap();
    let started = Instant::now();
    {
        let mut asking = Box::pin(scene.mark("hang"));
        tokio::select! {
            marked = &mut asking => panic!("{marked:?}"),
            () = until(begun) => {}
        }
    }
    until(dropped).await;
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "not by the deadline"
    );

    scene.ask(&gate, &gate, 1).await;
    let gave_up = stillpoint_cluster::until("the API server gives up", SOON, async || {
        let failed = scene.mark("hang").await.unwrap_err();
        let reason = format!("{failed:?}");
        let texts = ["timeout=1s", "no answer within 1s"];
        Ok(texts.iter().any(|text| reason.contains(text)).then_some(()))
    });
    gave_up.await.unwrap();
    until(dropped).await;
}
