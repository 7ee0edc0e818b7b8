//! The rules against a Kubernetes in memory that judges tokens as kube-apiserver does, on a paused clock.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{advance, sleep};

use super::*;

/// Signs and reviews tokens. Its clock is tokio's, as the agent's is.
pub(crate) struct Cluster {
    key: [u8; 16],
    start: (Instant, SystemTime),
    pub(crate) reviews: AtomicUsize,
    pub(crate) down: AtomicBool,
    pub(crate) hangs: AtomicBool,
    /// Of before Kubernetes 1.14: it does not look at audiences.
    knows_no_audiences: AtomicBool,
}

impl Cluster {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            key: *uuid::Uuid::new_v4().as_bytes(),
            start: (Instant::now(), SystemTime::now()),
            reviews: AtomicUsize::default(),
            down: AtomicBool::default(),
            hangs: AtomicBool::default(),
            knows_no_audiences: AtomicBool::default(),
        })
    }

    fn now(&self) -> u64 {
        let now = self.start.1 + self.start.0.elapsed();
        now.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    }

    fn sign(&self, payload: &str) -> String {
        let signed = [payload.as_bytes(), &self.key].concat();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &signed);
        BASE64_URL_SAFE_NO_PAD.encode(digest)
    }

    /// As TokenRequest makes them.
    pub(crate) fn token(&self, account: &str, audience: &str, life: Duration) -> String {
        let account: Account = account.parse().unwrap();
        let claims = json!({
            "aud": [audience], "sub": account.user_name(), "exp": self.now() + life.as_secs(),
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("e30.{payload}.{}", self.sign(&payload))
    }

    fn reviews(&self) -> usize {
        self.reviews.load(SeqCst)
    }
}

#[async_trait]
impl Reviewer for Cluster {
    async fn review(&self, token: &str) -> Result<Review, String> {
        self.reviews.fetch_add(1, SeqCst);
        if self.hangs.load(SeqCst) {
            sleep(Duration::from_secs(3600)).await;
        }
        sleep(Duration::from_millis(20)).await;
        if self.down.load(SeqCst) {
            return Err("connection refused".into());
        }
        let rejected = |error: &str| {
            Ok(Review {
                error: error.into(),
                ..Review::default()
            })
        };
        let parts: Vec<_> = token.split('.').collect();
        let [_, payload, signature] = parts[..] else {
            return rejected("invalid bearer token");
        };
        if signature != self.sign(payload) {
            return rejected("invalid bearer token");
        }
        let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        if claims["exp"].as_u64().unwrap() <= self.now() {
            return rejected("token has expired");
        }
        let blind = self.knows_no_audiences.load(SeqCst);
        if !blind && claims["aud"] != json!([AUDIENCE]) {
            return rejected("token audiences are invalid for the target audiences");
        }
        Ok(Review {
            authenticated: true,
            audiences: if blind { vec![] } else { vec![AUDIENCE.into()] },
            user: claims["sub"].as_str().unwrap().into(),
            error: String::new(),
        })
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 4));

fn accounts(cluster: &Arc<Cluster>) -> Accounts {
    Accounts::new(cluster.clone(), vec!["velero/velero".parse().unwrap()])
}

fn bearer(token: &str) -> HeaderValue {
    format!("Bearer {token}").parse().unwrap()
}

async fn admit(accounts: &Accounts, peer: IpAddr, token: &str) -> Result<String, Refusal> {
    let account = accounts.admit(peer, Some(&bearer(token))).await;
    account.map(|account| account.to_string())
}

#[tokio::test(start_paused = true)]
async fn an_accepted_token_is_reviewed_again_after_a_minute() {
    let cluster = Cluster::new();
    let accounts = accounts(&cluster);
    let token = cluster.token("velero/velero", AUDIENCE, HOUR);
    for (wait, reviews) in [(0, 1), (59, 1), (2, 2), (30, 2)] {
        advance(Duration::from_secs(wait)).await;
        assert_eq!(
            admit(&accounts, PEER, &token).await.unwrap(),
            "velero/velero"
        );
        assert_eq!(cluster.reviews(), reviews, "after {wait} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_accepted_token_is_refused_as_soon_as_it_has_expired() {
    let cluster = Cluster::new();
    let accounts = accounts(&cluster);
    let token = cluster.token("velero/velero", AUDIENCE, Duration::from_secs(20));
    admit(&accounts, PEER, &token).await.unwrap();
    advance(Duration::from_secs(21)).await;
    let refusal = admit(&accounts, PEER, &token).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Rejected(_)), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_with_one_token_make_one_review() {
    let cluster = Cluster::new();
    let accounts = accounts(&cluster);
    let good = cluster.token("velero/velero", AUDIENCE, HOUR);
    let bad = cluster.token("velero/velero", "https://kubernetes.default.svc", HOUR);
    let calls = (0..50).flat_map(|_| [&good, &bad]);
    let results = join_all(calls.map(|token| admit(&accounts, PEER, token))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 50);
    assert_eq!(cluster.reviews(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_review_that_its_caller_abandons_is_made_by_the_next_who_waits() {
    let cluster = Cluster::new();
    let accounts = Arc::new(accounts(&cluster));
    let token = cluster.token("velero/velero", AUDIENCE, HOUR);
    let call = |token: String| {
        let accounts = accounts.clone();
        tokio::spawn(async move { admit(&accounts, PEER, &token).await })
    };
    let first = call(token.clone());
    tokio::task::yield_now().await;
    let second = call(token);
    tokio::task::yield_now().await;
    first.abort();
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn foreign_tokens_are_refused_with_the_reason() {
    let cluster = Cluster::new();
    let accounts = accounts(&cluster);
    let forged = Cluster::new().token("velero/velero", AUDIENCE, HOUR);
    let elsewhere = cluster.token("velero/velero", "vault", HOUR);
    let another = cluster.token("shop/velero", AUDIENCE, HOUR);
    let expired = cluster.token("velero/velero", AUDIENCE, Duration::ZERO);
    let none = accounts.admit(PEER, None).await.unwrap_err();
    assert!(none.to_string().contains("authorization: Bearer"), "{none}");
    for (token, expected) in [
        (forged.as_str(), "invalid bearer token"),
        (&elsewhere, "audience"),
        (&another, "does not accept shop/velero"),
        (&expired, "expired"),
        ("opaque", "no JWT"),
    ] {
        let refusal = admit(&accounts, PEER, token).await.unwrap_err().to_string();
        assert!(refusal.contains(expected), "{token}: {refusal}");
        assert!(
            !refusal.contains(token),
            "no token in the reason: {refusal}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_look_at_audiences_lets_nobody_in() {
    let cluster = Cluster::new();
    cluster.knows_no_audiences.store(true, SeqCst);
    let token = cluster.token("velero/velero", "vault", HOUR);
    let refusal = admit(&accounts(&cluster), PEER, &token).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Audience(_)), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_or_hangs_is_asked_anew_by_the_next_call() {
    let cluster = Cluster::new();
    let accounts = accounts(&cluster);
    let token = cluster.token("velero/velero", AUDIENCE, HOUR);
    for fault in [&cluster.down, &cluster.hangs] {
        fault.store(true, SeqCst);
        // More often than a peer may be refused: it is not to blame.
        for _ in 0..30 {
            let refusal = admit(&accounts, PEER, &token).await.unwrap_err();
            assert!(matches!(refusal, Refusal::Unreachable(_)), "{refusal:?}");
        }
        fault.store(false, SeqCst);
    }
    admit(&accounts, PEER, &token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_bad_tokens_reaches_kubernetes_as_a_trickle_and_shuts_out_nobody_else() {
    let cluster = Cluster::new();
    let accounts = accounts(&cluster);
    for _ in 0..1000 {
        let forged = Cluster::new().token("velero/velero", AUDIENCE, HOUR);
        admit(&accounts, PEER, &forged).await.unwrap_err();
    }
    assert!(cluster.reviews() <= 20, "{} reviews", cluster.reviews());
    let good = cluster.token("velero/velero", AUDIENCE, HOUR);
    admit(&accounts, OTHER, &good).await.unwrap();
    admit(&accounts, PEER, &good)
        .await
        .expect("remembered by now");
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_before_the_answer_has_spent_of_his_allowance_too() {
    let cluster = Cluster::new();
    let accounts = accounts(&cluster);
    for _ in 0..1000 {
        let forged = Cluster::new().token("velero/velero", AUDIENCE, HOUR);
        let _ = timeout(Duration::from_millis(1), admit(&accounts, PEER, &forged)).await;
    }
    assert!(cluster.reviews() <= 20, "{} reviews", cluster.reviews());
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_a_remembered_refusal_is_not_asked_again_at_once() {
    let cluster = Cluster::new();
    let accounts = accounts(&cluster);
    for peer in 0..500 {
        let token = cluster.token("velero/velero", AUDIENCE, HOUR);
        let peer = Ipv4Addr::from_bits(peer).into();
        admit(&accounts, peer, &token).await.unwrap();
    }
    assert!(accounts.known.lock().unwrap().len() <= 128);
    let elsewhere = cluster.token("velero/velero", "vault", HOUR);
    let before = cluster.reviews();
    for _ in 0..5 {
        admit(&accounts, PEER, &elsewhere).await.unwrap_err();
    }
    assert_eq!(cluster.reviews(), before + 1);
    advance(REFUSED).await;
    admit(&accounts, PEER, &elsewhere).await.unwrap_err();
    assert_eq!(cluster.reviews(), before + 2);
}

#[test]
fn a_token_shows_nothing_of_itself() {
    let secret = "e30.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIiwiZXhwIjoxfQ.c2ln";
    let token = Token::read(Some(&bearer(secret))).unwrap();
    let shown = format!("{token:?}");
    assert!(
        secret.split('.').all(|part| !shown.contains(part)),
        "{shown}"
    );
}
