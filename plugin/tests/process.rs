//! The program as Velero runs it: a process, its socket, its log and its end.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use stillpoint_lab::host::{Host, Level, StartError, TlsMode};
use tonic::Code;

const PROGRAM: &str = env!("CARGO_BIN_EXE_velero-plugin-stillpoint");
const SOON: Duration = Duration::from_secs(10);

fn host() -> Host {
    Host::new(PROGRAM)
}

#[tokio::test]
async fn both_kinds_are_listed_for_each_name() {
    for (also_serve, names) in [
        ("", &["stillpoint.io/azure"][..]),
        (
            "velero.io/azure",
            &["stillpoint.io/azure", "velero.io/azure"],
        ),
    ] {
        let host = host().variable("STILLPOINT_ALSO_SERVE", also_serve);
        let plugin = host.start().await.unwrap();
        let listed = plugin.list_plugins().await.unwrap();
        for kind in ["VolumeSnapshotter", "ObjectStore"] {
            let of_kind = listed.iter().filter(|plugin| plugin.kind == kind);
            let of_kind: Vec<_> = of_kind.map(|plugin| plugin.name.as_str()).collect();
            assert_eq!(of_kind, names, "{kind}");
        }
        assert_eq!(listed.len(), 2 * names.len());
        assert!(listed.iter().all(|plugin| plugin.command == PROGRAM));
    }
}

#[tokio::test]
async fn wrong_name_in_the_environment_is_told_to_velero() {
    let host = host().variable("STILLPOINT_ALSO_SERVE", "velero.io/aws");
    let plugin = host.start().await.unwrap();
    let error = plugin.list_plugins().await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("\"velero.io/aws\""), "{error}");
}

#[tokio::test]
async fn plugin_is_healthy() {
    let plugin = host().start().await.unwrap();
    assert!(plugin.is_healthy().await.unwrap());
}

#[tokio::test]
async fn mutual_tls_is_spoken_when_asked_for() {
    let plugin = host().tls(TlsMode::Mutual).start().await.unwrap();
    assert!(plugin.handshake().certificate.is_some());
    assert!(plugin.is_healthy().await.unwrap());
    assert_eq!(plugin.list_plugins().await.unwrap().len(), 2);
    let ended = plugin.shut_down().await.unwrap();
    assert!(!ended.killed && ended.status.success(), "{ended:?}");
}

#[tokio::test]
async fn other_client_certificate_is_refused() {
    // Under TLS 1.3 a client learns that it was refused when it first reads.
    match host().tls(TlsMode::Impostor).start().await {
        Err(StartError::Connect(_)) => {}
        Err(error) => panic!("{error:?}"),
        Ok(plugin) => {
            plugin.list_plugins().await.unwrap_err();
            let logs = plugin.logs();
            let refused = |entry: &_| is(entry, Level::Warn, "connection refused");
            assert!(
                logs.find(SOON, refused).await.is_some(),
                "{:?}",
                logs.entries()
            );
        }
    }
}

#[tokio::test]
async fn plain_client_is_refused_under_tls() {
    let plugin = host().tls(TlsMode::Mutual).start().await.unwrap();
    let mut stream = std::os::unix::net::UnixStream::connect(&plugin.handshake().socket).unwrap();
    io::Write::write_all(&mut stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = Vec::new();
    // An alert and the end, or a reset; no HTTP/2.
    let _ = io::Read::read_to_end(&mut stream, &mut answer);
    assert!(answer.len() < 16, "{answer:?}");
}

#[tokio::test]
async fn unreadable_host_certificate_ends_the_start() {
    let error = host()
        .variable("PLUGIN_CLIENT_CERT", "nonsense")
        .start()
        .await
        .unwrap_err();
    let StartError::Exited { status, log } = error else {
        panic!("{error:?}")
    };
    assert_eq!(status.code(), Some(2));
    assert!(log.iter().any(|entry| {
        entry
            .field("error")
            .unwrap_or("")
            .contains("PLUGIN_CLIENT_CERT")
    }));
}

#[tokio::test]
async fn multiplexing_is_declined_only_when_it_is_asked_about() {
    let plugin = host().start().await.unwrap();
    assert_eq!(plugin.handshake().multiplex, None);
    let plugin = host()
        .variable("PLUGIN_MULTIPLEX_GRPC", "true")
        .start()
        .await
        .unwrap();
    assert_eq!(plugin.handshake().multiplex, Some(false));
    let plugin = host()
        .variable("PLUGIN_MULTIPLEX_GRPC", "false")
        .tls(TlsMode::Mutual)
        .start()
        .await
        .unwrap();
    assert_eq!(plugin.handshake().multiplex, Some(false));
    assert!(plugin.handshake().certificate.is_some());
}

#[test]
fn unmet_version_is_explained_in_log_and_exit_code() {
    let output = Command::new(PROGRAM)
        .env("VELERO_PLUGIN", "hello")
        .env("PLUGIN_PROTOCOL_VERSIONS", "3,4")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    // The host compares versions first, and explains the mismatch itself.
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with("1|2|unix|"), "{stdout}");
    let entry: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(entry["@level"], "error");
    assert!(
        entry["error"].as_str().unwrap().contains("version 3,4"),
        "{entry}"
    );
}

#[test]
fn person_gets_an_explanation() {
    let output = Command::new(PROGRAM)
        .env_remove("VELERO_PLUGIN")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("install DIR")
    );
}

#[test]
fn installed_program_is_the_same_and_runs() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("velero-plugin-stillpoint");
    for _ in 0..2 {
        let output = Command::new(PROGRAM)
            .arg("install")
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read(&target).unwrap(), fs::read(PROGRAM).unwrap());
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o7777,
            0o755
        );
    }
    let output = Command::new(&target).arg("--version").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn program_is_installed_over_a_running_one() {
    let directory = tempfile::tempdir().unwrap();
    let install = || {
        Command::new(PROGRAM)
            .arg("install")
            .arg(directory.path())
            .output()
            .unwrap()
    };
    assert!(install().status.success());
    let target = directory.path().join("velero-plugin-stillpoint");
    let running = Host::new(&target).start().await.unwrap();
    // Writing to a running program would be ETXTBSY.
    let output = install();
    assert!(output.status.success(), "{output:?}");
    assert!(running.is_healthy().await.unwrap());
    // A program whose file was replaced still installs itself.
    assert!(Host::new(&target).start().await.is_ok());
}

#[test]
fn install_fails_clearly() {
    for (arguments, part) in [
        (&["install", "/no/such/dir"][..], "/no/such/dir"),
        (&["install", PROGRAM], "is not a directory"),
        (&["install"], "needs one directory"),
        (&["instal", "/tmp"], "does not know"),
    ] {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn log_level_is_veleros() {
    for (flag, debug) in [
        ("--log-level=debug", true),
        ("--log-level=info", false),
        ("--x", false),
    ] {
        let host = host()
            .argument("--features=")
            .argument(flag)
            .argument("--uploader-type=kopia");
        let plugin = host.start().await.unwrap();
        let logs = plugin.logs().clone();
        plugin.shut_down().await.unwrap();
        logs.ended().await;
        let entries = logs.entries();
        assert!(
            entries.iter().all(|entry| entry.is_structured()),
            "{entries:?}"
        );
        let seen = entries.iter().any(|entry| entry.level == Level::Debug);
        assert_eq!(seen, debug, "{flag}: {entries:?}");
    }
}

#[tokio::test]
async fn shutdown_ends_the_process_at_once_and_leaves_nothing() {
    let plugin = host().start().await.unwrap();
    let directory = plugin.handshake().socket.parent().unwrap().to_owned();
    assert_eq!(
        fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let ended = plugin.shut_down().await.unwrap();
    assert!(ended.status.success() && !ended.killed, "{ended:?}");
    assert!(!directory.exists());
}

#[tokio::test]
async fn signals_are_go_plugins() {
    let mut plugin = host().start().await.unwrap();
    let directory = plugin.handshake().socket.parent().unwrap().to_owned();
    plugin.signal(Signal::INT).unwrap();
    assert!(plugin.is_healthy().await.unwrap());
    assert_eq!(
        plugin
            .ended(Duration::from_millis(100))
            .await
            .unwrap_err()
            .kind(),
        io::ErrorKind::TimedOut
    );
    plugin.signal(Signal::TERM).unwrap();
    assert!(plugin.ended(SOON).await.unwrap().success());
    assert!(!directory.exists());
}

#[tokio::test]
async fn plugin_follows_its_host() {
    // The shell is the host; it dies without a word, and its plugin keeps the pipes.
    let script = format!("'{PROGRAM}' --log-level=debug & wait");
    let mut plugin = Host::new("/bin/sh")
        .argument("-c")
        .argument(script)
        .start()
        .await
        .unwrap();
    assert!(plugin.is_healthy().await.unwrap());
    let directory = plugin.handshake().socket.parent().unwrap().to_owned();
    plugin.kill().await.unwrap();
    let gone = |entry: &_| is(entry, Level::Debug, "ended");
    let entry = plugin.logs().find(SOON, gone).await;
    assert_eq!(entry.unwrap().field("reason"), Some("the host is gone"));
    assert!(removed(&directory));
}

#[tokio::test]
async fn killed_plugin_is_seen_to_be_gone() {
    let mut plugin = host().start().await.unwrap();
    plugin.kill().await.unwrap();
    assert!(plugin.list_plugins().await.is_err());
}

#[tokio::test]
async fn calls_before_init_say_so() {
    let plugin = host().start().await.unwrap();
    let snapshotter = plugin.snapshotter("stillpoint.io/azure");
    let error = snapshotter
        .create_snapshot("disk", "", &[])
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("Init"), "{error}");
}

fn is(entry: &stillpoint_lab::host::Entry, level: Level, message: &str) -> bool {
    entry.level == level && entry.message.contains(message)
}

/// The directory goes a moment after the last line.
fn removed(path: &Path) -> bool {
    let begun = Instant::now();
    while path.exists() && begun.elapsed() < SOON {
        std::thread::yield_now();
    }
    !path.exists()
}
