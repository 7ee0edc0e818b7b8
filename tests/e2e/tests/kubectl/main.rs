//! What a person does with `kubectl stillpoint`, on one cluster, as one whole: the steps follow each other.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod by_hand;
mod golden;
mod refusals;
mod scene;
mod shell;
mod terminal;
mod walk;

use anyhow::Result;
use scene::Scene;
use stillpoint_e2e::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_takes_snapshots_and_brings_volumes_back() {
    let missing = World::missing().or_else(terminal::missing);
    if let Some(why) = missing {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let scene = Scene::start().await.unwrap();
    if let Err(error) = life(&scene).await {
        panic!("{error:?}");
    }
}

async fn life(scene: &Scene) -> Result<()> {
    walk::there_and_back(scene).await?;
    refusals::what_would_do_harm_is_refused_with_what_to_do(scene).await?;
    by_hand::output_is_what_programs_read(scene).await?;
    by_hand::old_snapshots_are_pruned_and_deleted(scene).await?;
    by_hand::azure_cli_s_login_will_do(scene).await?;
    by_hand::names_are_completed(scene).await?;
    terminal::bars_and_questions(scene).await
}
