//! Logs as go-plugin's hosts read them: JSON on stderr, one object a line. The gate's are lines of text.
//!
//! Velero counts every `error` line as an error of the backup and every `warn` line as a warning of it. So an error
//! that is returned to Velero is not logged as well, and `warn` means: this backup is worth less than it should be.
//! Other crates know nothing of that, and say `error` of what is tried again: whatever they say is `info`.

mod entry;
mod layer;

use std::{backtrace::Backtrace, io, panic};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, registry::Registry,
};

use layer::GoPluginLayer;

/// The crates whose logs are ours.
const OWN: [&str; 2] = ["stillpoint", "velero_plugin_stillpoint"];

/// Logs of this process go to stderr from now on; once a process.
pub fn to_stderr(level: LevelFilter) {
    // Fails if it was called before; then logs go where they went.
    let _ = tracing::subscriber::set_global_default(subscriber(io::stderr, level));
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let backtrace = Backtrace::capture().to_string();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, backtrace, "the plugin has a defect: {message}");
    }));
}

/// The same for a program that people, not go-plugin, start: lines of text.
pub fn for_people(level: LevelFilter) {
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(io::stderr);
    let subscriber = Registry::default().with(lines.with_filter(filter(level)));
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn subscriber<W>(writer: W, level: LevelFilter) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    Registry::default().with(GoPluginLayer::new(writer).with_filter(filter(level)))
}

/// Of other crates only warnings, at any level: some log requests with their credentials at debug
/// (azure_core 0.21: RUSTSEC-2026-0275).
fn filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_targets(OWN.map(|target| (target, level)))
        .with_default(level.min(LevelFilter::WARN))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Map, Value};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LevelFilter, log: impl FnOnce()) -> Vec<Map<String, Value>> {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(subscriber(move || writer.clone(), level), log);
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn entry_is_go_plugins() {
        let entries = logged(LevelFilter::TRACE, || {
            tracing::warn!(disk = "d", bytes = 5, held = true, "expired");
        });
        let entry = &entries[0];
        assert_eq!(entry["@level"], "warn");
        assert_eq!(entry["@message"], "expired");
        assert_eq!(entry["disk"], "d");
        assert_eq!(entry["bytes"], 5);
        assert_eq!(entry["held"], true);
        // Go's layout 2006-01-02T15:04:05.000000Z07:00; go-plugin drops to plain text what does not fit it.
        let time = entry["@timestamp"].as_str().unwrap();
        assert_eq!(time.len(), "2006-01-02T15:04:05.000000Z".len(), "{time}");
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn levels_are_hclogs() {
        let entries = logged(LevelFilter::TRACE, || {
            tracing::trace!("x");
            tracing::debug!("x");
            tracing::info!("x");
            tracing::warn!("x");
            tracing::error!("x");
        });
        let levels: Vec<_> = entries
            .iter()
            .map(|entry| entry["@level"].clone())
            .collect();
        assert_eq!(levels, ["trace", "debug", "info", "warn", "error"]);
    }

    #[test]
    fn level_is_respected() {
        for (level, expected) in [
            (LevelFilter::TRACE, 3),
            (LevelFilter::INFO, 2),
            (LevelFilter::ERROR, 1),
        ] {
            let entries = logged(level, || {
                tracing::debug!("x");
                tracing::info!("x");
                tracing::error!("x");
            });
            assert_eq!(entries.len(), expected, "{level}");
        }
    }

    #[test]
    fn other_crates_are_heard_from_warn_on_and_do_not_count() {
        let entries = logged(LevelFilter::TRACE, || {
            tracing::debug!(target: "azure_core::policies", "Authorization: Bearer secret");
            tracing::info!(target: "hyper_util::client", "connected");
            tracing::warn!(target: "rustls::check", "odd");
            tracing::error!(target: "kube_client::client", "cannot connect, this time");
        });
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| (&entry["target"], &entry["@level"]))
            .collect();
        let info = &Value::from("info");
        let targets = [&"rustls::check".into(), &"kube_client::client".into()];
        assert_eq!(entries, targets.map(|target| (target, info)));
    }

    #[test]
    fn spans_lend_their_fields() {
        let entries = logged(LevelFilter::INFO, || {
            let outer =
                tracing::info_span!("snapshot", disk = "outer", snapshot = tracing::field::Empty);
            let _outer = outer.enter();
            outer.record("snapshot", "s");
            let _inner = tracing::info_span!("poll", disk = "inner").entered();
            tracing::info!("polled");
        });
        assert_eq!(entries[0]["disk"], "inner");
        assert_eq!(entries[0]["snapshot"], "s");
    }

    #[test]
    fn fields_that_velero_takes_for_its_own_are_kept() {
        let entries = logged(LevelFilter::INFO, || {
            tracing::info!(level = "l", time = 3, name = 5, "@message" = "m", "said");
        });
        let entry = &entries[0];
        assert_eq!(entry["@message"], "said");
        assert_eq!(entry["fields.level"], "l");
        assert_eq!(entry["fields.time"], 3);
        // Velero's own log hook panics if this is no string.
        assert_eq!(entry["name"], "5");
    }

    #[test]
    fn line_fits_the_hosts_buffer() {
        for character in ["x", "\u{1}", "\u{1f9ca}"] {
            let long = character.repeat(200_000);
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber = subscriber(move || writer.clone(), LevelFilter::INFO);
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!(a = long, b = long, c = long, "{long}");
            });
            let bytes = lines.0.lock().unwrap();
            assert!(bytes.len() < 64 * 1024, "{character:?}: {}", bytes.len());
            assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}
