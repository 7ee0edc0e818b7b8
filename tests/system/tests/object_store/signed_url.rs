//! URLs that somebody else opens.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use stillpoint_system::blob::proxy::{Action, Fault, Refusal};
use tonic::Code;
use url::Url;

use crate::{
    azure::Azure,
    fetch::fetch,
    fixture::{Opened, Setup, told},
};

const MINUTES: Duration = Duration::from_secs(600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const NAMES: [&str; 6] = [
    "backups/b/b.tar.gz",
    "a b+c%20%25",
    "ä/€/\u{1f512}",
    "!\"#$&'()*,:;<=>?@[]^_`{|}~",
    "double//slash",
    "..a/.b./c..",
];

async fn signed(opened: &Opened, setup: &Setup, key: &str, lifetime: Duration) -> String {
    let url = opened.store.signed_url(&setup.container, key, lifetime);
    url.await.unwrap()
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name)?;
    Some(found.1.into_owned())
}

fn expiry(url: &str) -> Timestamp {
    parameter(url, "se").unwrap().parse().unwrap()
}

/// It is good at once, for that object alone, and as long as asked for.
async fn is_good(opened: &Opened, setup: &Setup) {
    for key in NAMES {
        let content = key.as_bytes();
        opened
            .store
            .put(&setup.container, key, content)
            .await
            .unwrap();
    }
    let mut names = NAMES;
    names.sort_unstable();
    let there = setup.direct.list(&setup.container, "").await.unwrap();
    assert_eq!(there, names);
    let listed = opened.store.objects(&setup.container, "").await;
    assert_eq!(listed.unwrap(), names);
    for key in NAMES {
        let url = signed(opened, setup, key, MINUTES).await;
        let (status, content) = fetch(setup, &url).await;
        let said = String::from_utf8_lossy(&content);
        assert!(
            status == 200 && content == key.as_bytes(),
            "{key}: {status} {said}"
        );
        assert_eq!(parameter(&url, "sp").as_deref(), Some("r"), "{key}");
    }
    for lifetime in [MINUTES, WEEK] {
        let asked = Timestamp::now();
        let url = signed(opened, setup, NAMES[0], lifetime).await;
        let (status, _) = fetch(setup, &url).await;
        assert_eq!(status, 200, "{lifetime:?}");
        let lives = expiry(&url).duration_since(asked).unsigned_abs();
        let off = lives.abs_diff(lifetime);
        assert!(off < Duration::from_secs(30), "{lives:?} for {lifetime:?}");
    }
    let url = signed(opened, setup, NAMES[0], MINUTES).await;
    let other = url.replace("b.tar.gz", "other.tar.gz");
    assert_eq!(fetch(setup, &other).await.0, 403);
    let missing = signed(opened, setup, "none", MINUTES).await;
    assert_eq!(fetch(setup, &missing).await.0, 404);
}

/// Of a second: refused when that is over, and not before.
async fn expires(opened: &Opened, setup: &Setup) {
    let url = signed(opened, setup, NAMES[0], Duration::from_secs(3)).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let before = Timestamp::now() < expiry(&url);
        let (status, _) = fetch(setup, &url).await;
        match status {
            200 => assert!(Instant::now() < deadline, "it lives on"),
            403 => {
                assert!(Timestamp::now() >= expiry(&url) || !before);
                return;
            }
            _ => panic!("{status}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn url_by_the_accounts_key_is_good_for_as_long_as_asked() {
    let setup = Setup::new().await;
    let opened = setup.open(&[]).await;
    is_good(&opened, &setup).await;
    expires(&opened, &setup).await;
    let longer = WEEK + Duration::from_secs(1);
    let url = signed(&opened, &setup, NAMES[0], longer).await;
    assert_eq!(fetch(&setup, &url).await.0, 200);
    assert_eq!(parameter(&url, "skoid"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn url_by_a_delegation_key_is_good_for_a_week_at_most() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let setup = &azure.setup;
    let opened = azure.open(&[("useAAD", "true")]).await.unwrap();
    is_good(&opened, setup).await;
    expires(&opened, setup).await;
    let url = signed(&opened, setup, NAMES[0], MINUTES).await;
    let object = &azure.lab.identity().object_id;
    assert_eq!(parameter(&url, "skoid").as_ref(), Some(object));

    let longer = WEEK + Duration::from_secs(1);
    let error = opened.store.signed_url(&setup.container, NAMES[0], longer);
    let error = error.await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let parts = [
        NAMES[0],
        &setup.container,
        "7 days",
        "`storageAccountKeyEnvVar`",
    ];
    told(&error, &parts);

    // One key is lent for many URLs, and another when Azure took it back.
    let lent = || {
        let requests = setup.proxy.requests();
        let lent = requests
            .iter()
            .filter(|it| it.parameter("comp") == Some("userdelegationkey"));
        lent.count()
    };
    setup.proxy.clear_requests();
    for key in NAMES {
        signed(&opened, setup, key, MINUTES).await;
    }
    assert_eq!(lent(), 0);
    let refusal = Refusal::new(403, "AuthenticationFailed");
    let taken_back = Fault::new(Action::Refuse(refusal)).query("sig=");
    setup.proxy.arm(taken_back);
    let url = signed(&opened, setup, NAMES[0], MINUTES).await;
    assert_eq!(fetch(setup, &url).await.0, 200);
    assert_eq!(lent(), 1);
}
