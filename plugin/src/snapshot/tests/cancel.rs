//! The caller goes away.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_cancelled_snapshot_thaws_at_once_and_leaves_nothing() {
    for after in (0..1700).step_by(23) {
        let world = World::with([disk("data")]);
        let cancel = CancellationToken::new();
        let taking = tokio::spawn({
            let (site, cancel) = (site(&world, &[]), cancel.clone());
            async move { site.take(volume("data"), Required, &cancel).await }
        });
        sleep(Duration::from_millis(after)).await;
        cancel.cancel();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.node.lock().unwrap().frozen, 0, "{after} ms");
        let taken = taking.await.unwrap();
        match taken {
            // It was done before the cancellation came.
            Ok(taken) => world.assert_clean(&[taken.snapshot]),
            Err(_) => drop(expect_none(&world, taken, "cancelled")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_not_held() {
    let world = World::with([disk("data")]);
    let site = site(&world, &[]);
    let cancel = CancellationToken::new();
    let taking = site.take(volume("data"), Required, &cancel);
    assert!(
        tokio::time::timeout(Duration::from_millis(700), taking)
            .await
            .is_err()
    );
    assert_eq!(world.node.lock().unwrap().frozen, 0);
}
