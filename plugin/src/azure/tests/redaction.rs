use std::{
    io,
    sync::{Arc, Mutex},
};

use stillpoint_lab::settings;
use tracing_subscriber::{
    Layer, filter::LevelFilter, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::{bench, cut::snapshot};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

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
    let captured = Captured::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(captured.clone())
        .with_ansi(false)
        .with_filter(LevelFilter::TRACE);
    let guard = tracing_subscriber::registry().with(layer).set_default();
    let disk = bench.disk("d");
    snapshot(&bench, &disk, "s").await;
    bench.lab.revoke_tokens();
    snapshot(&bench, &disk, "s2").await;
    tracing::info!(client = ?bench.client, "the client itself");
    drop(guard);
    let text = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
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
