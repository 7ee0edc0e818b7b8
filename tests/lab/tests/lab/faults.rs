//! Every fault, met over the wire.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use stillpoint_lab::{Action, Fault, ResourceId, Settings};

use crate::client::{Arm, http, http1, lab, secret_form, snapshot_of, token, until};

fn fault(method: &str, path: &str, action: Action) -> Fault {
    Fault {
        method: Some(method.into()),
        path: path.into(),
        skip: 0,
        times: 1,
        action,
    }
}

#[tokio::test]
async fn statuses_are_answered_instead() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    for status in [429, 500, 503, 409, 403] {
        lab.inject(fault(
            "GET",
            "**/disks/*",
            Action::Status {
                status,
                code: None,
                message: None,
                retry_after: Some("3".into()),
            },
        ));
        let reply = arm.get(&disk).await;
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (status, Some("3"))
        );
        assert_eq!(arm.get(&disk).await.status, 200, "once");
    }
    lab.inject(fault(
        "POST",
        "**/token",
        Action::Status {
            status: 401,
            code: None,
            message: None,
            retry_after: None,
        },
    ));
    let refused = token(&lab, &arm.http, &secret_form(&lab)).await;
    assert_eq!(
        (refused.status, &refused.body["error"]),
        (401, &json!("invalid_client"))
    );
    let met: Vec<_> = lab
        .requests()
        .into_iter()
        .filter(|request| !request.faults.is_empty())
        .collect();
    assert_eq!(met.len(), 6);
}

#[tokio::test]
async fn closed_connections_lose_the_request_or_only_the_answer() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let mut arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    for (version, http) in [("1", http1(&lab)), ("2", http(&lab))] {
        arm.http = http;
        connections_close(&arm, &disk, version).await;
    }
}

async fn connections_close(arm: &Arm<'_>, disk: &ResourceId, version: &str) {
    let lab = arm.lab;
    let body = snapshot_of(disk);
    for (n, (action, made)) in [(Action::CloseBefore, false), (Action::CloseAfter, true)]
        .into_iter()
        .enumerate()
    {
        let id = lab.snapshot_id(&format!("s{n}-{version}"));
        lab.inject(fault("PUT", "**/snapshots/*", action));
        let lost = arm
            .try_send(Method::PUT, &id.to_string(), Some(&body))
            .await;
        assert!(lost.is_err(), "{lost:?}");
        assert_eq!(lab.snapshot(&id).is_some(), made, "{id}");
    }
    lab.inject(fault("GET", "**/disks/*", Action::Truncate));
    let torn = arm
        .try_send(Method::GET, &disk.to_string(), None)
        .await
        .unwrap();
    assert_eq!(torn.status(), 200);
    assert!(torn.text().await.is_err());
    lab.inject(fault(
        "GET",
        "**/disks/*",
        Action::Hang {
            period: Duration::from_millis(100),
        },
    ));
    let began = Instant::now();
    assert!(
        arm.try_send(Method::GET, &disk.to_string(), None)
            .await
            .is_err()
    );
    assert!(began.elapsed() >= Duration::from_millis(100));
    for action in [
        Action::Delay {
            by: Duration::from_millis(100),
        },
        Action::DelayAnswer {
            by: Duration::from_millis(100),
        },
    ] {
        lab.inject(fault("GET", "**/disks/*", action));
        let began = Instant::now();
        assert_eq!(arm.get(disk).await.status, 200);
        assert!(began.elapsed() >= Duration::from_millis(100));
    }
}

#[tokio::test]
async fn operations_fail_or_stay() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    let failing = Action::FailOperation {
        code: "Boom".into(),
        message: "It broke.".into(),
    };
    lab.inject(fault("PUT", "**/snapshots/*", failing));
    let id = lab.snapshot_id("failed");
    let status = arm.finish(&arm.put(&id, &snapshot_of(&disk)).await).await;
    assert_eq!(
        (&status["status"], &status["error"]["code"]),
        (&json!("Failed"), &json!("Boom"))
    );
    assert_eq!(
        arm.get(&id).await.body["properties"]["provisioningState"],
        "Failed"
    );

    lab.inject(fault(
        "PUT",
        "**/snapshots/*",
        Action::Stay {
            period: Duration::from_millis(300),
        },
    ));
    let id = arm.snapshot("late", &disk).await;
    let view = lab.snapshot(&id).unwrap();
    assert!(view.succeeded.unwrap().since(&view.accepted) >= Duration::from_millis(300));

    lab.inject(fault("PUT", "**/snapshots/*", Action::DeleteSource));
    let id = lab.snapshot_id("orphan");
    let status = arm.finish(&arm.put(&id, &snapshot_of(&disk)).await).await;
    assert_eq!(status["error"]["code"], "ResourceNotFound", "{status}");
    assert!(lab.disk(&disk).is_none());

    let disk = arm.disk("e", |_| ());
    lab.inject(fault(
        "PUT",
        "**",
        Action::Deny {
            action: "Microsoft.Compute/disks/beginGetAccess/*".into(),
        },
    ));
    let denied = arm
        .put(lab.snapshot_id("denied"), &snapshot_of(&disk))
        .await;
    assert_eq!(denied.refusal(), (403, "LinkedAuthorizationFailed"));
    lab.inject(Fault {
        skip: 1,
        ..fault("GET", "**/disks/e", Action::CloseBefore)
    });
    assert_eq!(lab.faults().len(), 1);
    lab.clear_faults();
    assert!(lab.faults().is_empty());
}

#[tokio::test]
async fn client_that_goes_away_undoes_nothing() {
    let settings = Settings {
        latency: stillpoint_lab::settings::Latency {
            read: Duration::ZERO,
            write: Duration::from_millis(500),
        },
        ..Settings::fast()
    };
    let Some(lab) = lab(settings).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    let id = lab.snapshot_id("s");
    let url = arm.url(&id.to_string());
    let body = snapshot_of(&disk);
    let put = arm.try_send(Method::PUT, &url, Some(&body));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), put)
            .await
            .is_err()
    );
    until(|| async { lab.snapshot(&id).filter(|view| view.state == "Succeeded") }).await;
    let request = until(|| async {
        lab.requests()
            .into_iter()
            .find(|request| request.method == "PUT" && request.status.is_some())
    })
    .await;
    assert_eq!(request.status, Some(202));
}
