//! ReadOnly locks.

use reqwest::Method;
use stillpoint_lab::{LabError, NewStorageAccount, Settings};

use crate::client::{Arm, lab, snapshot_of};

#[tokio::test]
async fn what_is_locked_can_only_be_read() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let new = NewStorageAccount::new(lab.storage_account_id("velero0"), "https://127.0.0.1:1/");
    let account = lab.create_storage_account(&new).unwrap().to_string();
    let other = NewStorageAccount::new(lab.storage_account_id("velero00"), "https://127.0.0.1:1/");
    let other = lab.create_storage_account(&other).unwrap().to_string();
    let version = "api-version=2024-01-01";
    let keys = async |account: &str| {
        let path = format!("{account}/listKeys?{version}");
        arm.send(Method::POST, &path, None).await
    };
    let subscription = format!("/subscriptions/{}", lab.endpoints().subscription);
    let group = format!("{subscription}/resourcegroups/STILLPOINT-LAB");
    for scope in [&account, &group, &subscription] {
        lab.lock(scope).unwrap();
        let refused = keys(&account).await;
        assert_eq!(refused.refusal(), (409, "ScopeLocked"), "{scope}");
        assert_eq!(
            refused.body["error"]["message"],
            format!(
                "The scope '{account}' cannot perform write operation because following scope(s) are locked: \
                 '{scope}'. Please remove the lock and try again."
            )
        );
        assert_eq!(arm.get(format!("{account}?{version}")).await.status, 200);
        let within = scope != &account;
        let status = keys(&other).await.status;
        assert_eq!(status, if within { 409 } else { 200 }, "{scope}");
        lab.unlock(scope.to_uppercase()).unwrap();
        assert_eq!(keys(&account).await.status, 200, "{scope} is unlocked");
    }
}

#[tokio::test]
async fn locks_hold_for_disks_and_go_with_what_they_lock() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    lab.lock(&disk).unwrap();
    let deleted = arm.delete(&disk).await;
    assert_eq!(deleted.refusal(), (409, "ScopeLocked"));
    let said = deleted.body["error"]["message"].as_str().unwrap();
    assert!(said.contains("cannot perform delete operation"), "{said}");
    let snapshot = lab.snapshot_id("s");
    let taken = arm.put(&snapshot, &snapshot_of(&disk)).await;
    assert_eq!(taken.status, 202, "a snapshot is another resource");
    lab.delete_disk(&disk);
    assert!(matches!(lab.unlock(&disk), Err(LabError::Missing(_))));
    for scope in [disk.to_string(), "/subscriptions/x".into(), "d".into()] {
        assert!(
            matches!(lab.lock(&scope), Err(LabError::Missing(_))),
            "{scope}"
        );
    }
}
