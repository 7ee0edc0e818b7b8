//! What the role for the object store grants is what is needed.

use stillpoint_system::role;

use crate::azure::Azure;

#[tokio::test(flavor = "multi_thread")]
async fn the_role_for_the_object_store_has_every_action_that_is_needed_and_no_other() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let opened = azure.open(&[("storageAccountURI", "")]).await.unwrap();
    let container = &azure.setup.container;
    assert!(!opened.store.exists(container, "key").await.unwrap());
    let used = azure.lab.actions(&azure.lab.identity().client_id);
    role::is_exactly("object-store", &used).unwrap();
}
