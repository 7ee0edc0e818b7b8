//! Lists, looks and deletions while the network and the server fail.

use http::Method;
use stillpoint_system::blob::proxy::{Action, Fault, Refusal};

use crate::fixture::Setup;

fn troubles() -> Vec<Action> {
    vec![
        Action::Refuse(Refusal::new(503, "ServerBusy")),
        Action::Replace(Refusal::new(500, "InternalError")),
        Action::CloseBefore,
        Action::CloseAfter,
        Action::CutAnswer { after: 0 },
        Action::CutAnswer { after: 300 },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn list_is_whole_whatever_its_request_meets() {
    let setup = Setup::new().await;
    let opened = setup.open(&[]).await;
    let container = &setup.container;
    let keys = ["backups/a/1", "backups/a/2", "backups/b/1", "else"];
    for key in keys {
        setup.direct.put(container, key, "x").await.unwrap();
    }
    for action in troubles() {
        let fault = Fault::new(action.clone()).query("comp=list");
        setup.proxy.arm(fault.clone().times(2));
        let listed = opened.store.objects(container, "").await.unwrap();
        assert_eq!(listed, keys, "{action}");
        setup.proxy.arm(fault);
        let prefixes = opened.store.common_prefixes(container, "backups/", "/");
        let expected = ["backups/a/", "backups/b/"];
        assert_eq!(prefixes.await.unwrap(), expected, "{action}");
        assert_eq!(setup.proxy.pending(), [], "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_gone_though_its_answer_was_lost() {
    let setup = Setup::new().await;
    let opened = setup.open(&[]).await;
    let (store, container) = (&opened.store, &setup.container);
    for action in troubles() {
        setup.direct.put(container, "k", "x").await.unwrap();
        let look = Fault::new(action.clone()).method(Method::HEAD);
        setup.proxy.arm(look.clone());
        assert!(store.exists(container, "k").await.unwrap(), "{action}");
        let delete = Fault::new(action.clone()).method(Method::DELETE);
        setup.proxy.arm(delete);
        store.delete(container, "k").await.unwrap();
        let left = setup.direct.list(container, "").await.unwrap();
        assert_eq!(left, [""; 0], "{action}");
        setup.proxy.arm(look);
        assert!(!store.exists(container, "k").await.unwrap(), "{action}");
        store.delete(container, "k").await.unwrap();
    }
}
