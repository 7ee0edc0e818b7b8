use std::{
    io,
    sync::{Arc, Mutex},
};

use stillpoint_lab::settings;
use tracing_subscriber::{
    Layer, filter::LevelFilter, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::{bench, cut::snapshot};
use crate::ports::Azure;

#[derive(Clone, Default)]
pub(in crate::azure) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(in crate::azure) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// What this thread logs, at trace, until the guard is dropped.
pub(in crate::azure) fn capture() -> (Captured, tracing::subscriber::DefaultGuard) {
    let captured = Captured::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(captured.clone())
        .with_ansi(false)
        .with_filter(LevelFilter::TRACE);
    let guard = tracing_subscriber::registry().with(layer).set_default();
    (captured, guard)
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Everything that any library logs, at trace, while a client logs in, cuts and fails.
#[tokio::test]
async fn no_log_shows_a_secret() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let (captured, guard) = capture();
    let disk = bench.disk("d");
    // What another test's thread reaches first is registered as not wanted; the second round is seen.
    snapshot(&bench, &disk, "s").await;
    tracing::callsite::rebuild_interest_cache();
    bench.lab.revoke_tokens();
    bench.client.disk(&disk).await.unwrap();
    bench.lab.revoke_tokens();
    snapshot(&bench, &disk, "s2").await;
    tracing::info!(client = ?bench.client, "the client itself");
    drop(guard);
    let text = captured.text();
    assert!(
        text.contains("asked Azure") && text.contains("azure_core"),
        "nothing was captured"
    );
    let credentials = bench.lab.credentials_file();
    let secret = credentials
        .lines()
        .find_map(|line| line.strip_prefix("AZURE_CLIENT_SECRET="))
        .unwrap();
    assert!(!text.contains(secret), "the client secret is logged");
    // Every token of the lab begins as a JWT does.
    if let Some(at) = text.find("eyJ") {
        panic!("a token is logged: {}", &text[at.saturating_sub(300)..at]);
    }
}
