//! The care for the shared certificate, with a cluster in memory.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Keeper, Material, Names, Pace, check, issue::issue};
use crate::gate::door::{tests::fake::Fake, tls::Tls};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Replica {
    keeper: Keeper,
    tls: Arc<Tls>,
}

impl Replica {
    fn new(cluster: &Arc<Fake>) -> Self {
        Self::named(cluster, &names())
    }

    fn named(cluster: &Arc<Fake>, names: &Names) -> Self {
        let tls = Arc::new(Tls::new(None).unwrap());
        let keeper = Keeper::new(cluster.clone(), names.clone(), Arc::clone(&tls));
        Self { keeper, tls }
    }

    async fn look(&mut self) {
        self.keeper.look(Pace::default().lifetime).await.unwrap();
    }

    fn ready(&self) -> Result<(), String> {
        self.keeper.standing().check(&self.tls)
    }

    /// Whether it is this one that clients see.
    fn serves(&self, material: &Material) -> bool {
        let served = self.tls.certified().unwrap();
        served.cert == check::certificates(&material.certificate)
    }

    /// As an API server does that has the bundle as it is now.
    fn assert_trusted(&self, cluster: &Fake) {
        let served = self.tls.certified().unwrap();
        check::trusted(&served, &cluster.bundle(), &names()).unwrap();
    }
}

fn names() -> Names {
    Names::of_service("stillpoint-gate", "velero", Some([127, 0, 0, 1].into()))
}

/// Made so many days ago, of 90.
fn made_before(days: u32) -> Material {
    let then = SystemTime::now() - DAY * days;
    issue(&names(), then, DAY * 90, b"").unwrap()
}

#[tokio::test]
async fn replicas_that_start_at_once_share_one_certificate() {
    let cluster = Arc::new(Fake::new());
    let mut replicas = [(); 3].map(|()| Replica::new(&cluster));
    let [one, two, three] = &mut replicas;
    tokio::join!(one.look(), two.look(), three.look());
    assert_eq!(cluster.state().writes_of_secret, 1);
    let material = cluster.material();
    assert_eq!(cluster.bundle(), material.authorities);
    for replica in &replicas {
        assert!(replica.serves(&material));
        replica.assert_trusted(&cluster);
        assert_eq!(replica.ready(), Ok(()));
    }
}

#[tokio::test]
async fn a_certificate_with_a_third_of_its_life_left_is_kept_and_with_less_replaced() {
    for (days, is_replaced) in [(0, false), (59, false), (61, true), (91, true)] {
        let cluster = Arc::new(Fake::new());
        let old = made_before(days);
        cluster.state().put_secret(old.clone());
        let mut replica = Replica::new(&cluster);
        replica.look().await;
        assert_eq!(cluster.material() != old, is_replaced, "{days} days old");
        assert!(replica.serves(&cluster.material()));
        let trusted = check::certificates(&cluster.bundle());
        let is_kept = trusted.contains(&check::certificates(&old.authorities)[0]);
        // An expired authority is dropped.
        assert_eq!(is_kept, days <= 90, "{days} days old");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_once_its_authority_is_known() {
    let cluster = Arc::new(Fake::new());
    let old = made_before(10);
    cluster.state().put_secret(old.clone());
    let (mut one, mut two) = (Replica::new(&cluster), Replica::new(&cluster));
    one.look().await;
    two.look().await;
    let new = issue(&names(), SystemTime::now(), DAY * 90, &old.authorities).unwrap();
    cluster.state().put_secret(new.clone());
    one.look().await;
    assert!(one.serves(&old), "the bundle has only just been set");
    assert_eq!(cluster.bundle(), new.authorities);
    two.look().await;
    assert!(
        two.serves(&old),
        "it cannot know since when the bundle is there"
    );
    for replica in [&one, &two] {
        replica.assert_trusted(&cluster);
    }
    one.look().await;
    assert!(one.serves(&new));
    one.assert_trusted(&cluster);
    // The other has not looked yet.
    two.assert_trusted(&cluster);
    two.look().await;
    assert!(two.serves(&new));
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_any_more_is_exchanged_at_once() {
    let cluster = Arc::new(Fake::new());
    let mut replica = Replica::new(&cluster);
    replica.look().await;
    let first = cluster.material();
    cluster.state().secret = None;
    replica.look().await;
    let second = cluster.material();
    assert!(second != first && replica.serves(&second));
    replica.assert_trusted(&cluster);
}

#[tokio::test]
async fn a_bundle_that_somebody_empties_is_put_back() {
    let cluster = Arc::new(Fake::new());
    let mut replica = Replica::new(&cluster);
    replica.look().await;
    for bundle in [&b""[..], b"another"] {
        cluster.state().put_trust(bundle);
        replica.look().await;
        replica.assert_trusted(&cluster);
    }
    assert_eq!(cluster.state().writes_of_secret, 1);
}

#[tokio::test]
async fn an_older_bundle_never_replaces_a_newer_one() {
    // Every point at which the one can be overtaken by the other's renewal.
    for steps in 0..6 {
        let cluster = Arc::new(Fake::new());
        let old = made_before(10);
        cluster.state().put_secret(old.clone());
        let (mut slow, mut quick) = (Replica::new(&cluster), Replica::new(&cluster));
        slow.look().await;
        cluster.state().put_trust(b"");
        let mut looking = Box::pin(slow.look());
        let mut is_over = false;
        for _ in 0..steps {
            is_over = is_over || futures::poll!(&mut looking).is_ready();
        }
        let new = issue(&names(), SystemTime::now(), DAY * 90, &old.authorities).unwrap();
        cluster.state().put_secret(new);
        quick.look().await;
        if !is_over {
            looking.await;
        }
        assert_eq!(
            cluster.bundle(),
            cluster.material().authorities,
            "{steps} steps"
        );
    }
}

#[tokio::test]
async fn what_is_no_certificate_of_ours_is_replaced() {
    let good = made_before(0);
    let other = made_before(0);
    let nothing = Vec::new();
    let broken = |certificate: &[u8], key: &[u8], authorities: &[u8]| Material {
        certificate: certificate.to_vec(),
        key: key.to_vec(),
        authorities: authorities.to_vec(),
    };
    for (what, material) in [
        ("empty", broken(&nothing, &nothing, &nothing)),
        (
            "no key",
            broken(&good.certificate, &nothing, &good.authorities),
        ),
        (
            "another's key",
            broken(&good.certificate, &other.key, &good.authorities),
        ),
        (
            "another's authority",
            broken(&good.certificate, &good.key, &other.authorities),
        ),
        (
            "no authority",
            broken(&good.certificate, &good.key, &nothing),
        ),
        (
            "not PEM",
            broken(b"\xff\0", b"key", b"-----BEGIN CERTIFICATE-----\nAA==\n"),
        ),
    ] {
        let cluster = Arc::new(Fake::new());
        cluster.state().put_secret(material);
        let mut replica = Replica::new(&cluster);
        replica.look().await;
        assert_eq!(cluster.state().writes_of_secret, 1, "{what}");
        replica.assert_trusted(&cluster);
    }
}

#[tokio::test]
async fn replicas_with_other_names_do_not_replace_each_others_certificate_for_ever() {
    let cluster = Arc::new(Fake::new());
    let mut old = Replica::new(&cluster);
    let renamed = Names::of_service("gate", "velero", Some([127, 0, 0, 2].into()));
    let mut new = Replica::named(&cluster, &renamed);
    for _ in 0..4 {
        old.look().await;
        new.look().await;
    }
    assert_eq!(cluster.state().writes_of_secret, 2);
    old.assert_trusted(&cluster);
    let served = new.tls.certified().unwrap();
    check::trusted(&served, &cluster.bundle(), &renamed).unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_kubernetes_is_away_the_gate_is_not_ready_and_later_keeps_what_it_has() {
    let cluster = Arc::new(Fake::new());
    cluster.state().is_down = true;
    let replica = Replica::new(&cluster);
    let standing = replica.keeper.standing();
    let tls = Arc::clone(&replica.tls);
    let ready = || standing.check(&tls);
    assert!(ready().is_err());
    let kept = tokio::spawn(replica.keeper.keep(Pace::default()));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(ready(), Err("Secret: down".to_owned()));
    cluster.state().is_down = false;
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(ready(), Ok(()));
    let material = cluster.material();
    cluster.state().is_down = true;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(ready(), Ok(()), "what is served stays good");
    cluster.state().is_down = false;
    cluster.state().put_trust(b"");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(cluster.bundle(), material.authorities);
    kept.abort();
}

#[tokio::test]
async fn without_a_webhook_configuration_the_certificate_is_served_nevertheless() {
    let cluster = Arc::new(Fake::default());
    let mut replica = Replica::new(&cluster);
    replica.look().await;
    assert_eq!(replica.ready(), Ok(()));
    cluster.state().put_trust(b"");
    replica.look().await;
    replica.assert_trusted(&cluster);
}

#[test]
fn a_key_is_in_no_debug_output() {
    let material = made_before(0);
    let shown = format!("{material:?}");
    let key = String::from_utf8(material.key).unwrap();
    let line = key.lines().nth(1).unwrap();
    assert!(
        shown.contains("CERTIFICATE") && !shown.contains(line),
        "{shown}"
    );
}
