//! What the programs say of themselves, as they are run.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use stillpoint_system::programs::{AGENT, GATE, KUBECTL, PLUGIN, program};

use super::words;

const SOON: Duration = Duration::from_secs(30);

/// The programs with all that they can be asked for help about.
const HELP: [(&str, &[&str]); 14] = [
    (AGENT, &[]),
    (AGENT, &["serve"]),
    (AGENT, &["status"]),
    (AGENT, &["freeze"]),
    (AGENT, &["thaw"]),
    (AGENT, &["doctor"]),
    (GATE, &[]),
    (PLUGIN, &["doctor"]),
    (KUBECTL, &["snapshot"]),
    (KUBECTL, &["snapshots"]),
    (KUBECTL, &["restore"]),
    (KUBECTL, &["delete"]),
    (KUBECTL, &["status"]),
    (KUBECTL, &["completion"]),
];

pub(super) fn help() -> String {
    let help = HELP.map(|(name, command)| {
        let output = Command::new(program(name).unwrap())
            .args(command)
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "{name} {command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    help.concat()
}

pub(super) fn is_flag(c: char) -> bool {
    c.is_ascii_lowercase() || c == '-'
}

pub(super) fn is_variable(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// Every `--flag`, but for clap's own.
pub(super) fn flags(text: &str) -> BTreeSet<String> {
    let flags = words(text, "--", is_flag).filter(|flag| flag.len() > 2);
    let flags = flags.filter(|flag| !["--help", "--version"].contains(flag));
    flags.map(str::to_owned).collect()
}

/// The flags that a text says of our programs: those that stand alone between backticks, and those after a program's name.
pub(super) fn flags_of_ours(text: &str) -> BTreeSet<String> {
    let alone = text.split('`').filter(|span| span.starts_with("--"));
    let commands = text.lines().filter_map(|line| {
        let begin = [AGENT, GATE, PLUGIN, "kubectl stillpoint"]
            .into_iter()
            .find_map(|name| Some(line.find(&format!("{name} "))? + name.len()))?;
        // Up to the end of the command.
        line[begin..].split(['`', '|', '#']).next()
    });
    alone.chain(commands).flat_map(flags).collect()
}

/// `[env: NAME=]`
pub(super) fn variables(help: &str) -> BTreeSet<String> {
    let marks = help.split("[env: ").skip(1);
    marks
        .map(|mark| mark.chars().take_while(|c| is_variable(*c)).collect())
        .collect()
}

/// A program that runs until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        // The agent is two processes, and thaws before it goes.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.0.wait();
    }
}

/// What a program shows at `/metrics`, once its log has told where that is.
fn metrics(name: &str, arguments: &[&str], directory: &Path, told: &str) -> String {
    let log = directory.join(format!("{name}.log"));
    let file = File::create(&log).unwrap();
    let child = Command::new(program(name).unwrap())
        .args(arguments)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::null())
        .stderr(file.try_clone().unwrap())
        .stdout(file)
        .spawn()
        .unwrap();
    let _running = Running(child);
    let begun = Instant::now();
    let address: SocketAddr = loop {
        let said = std::fs::read_to_string(&log).unwrap();
        let address = said.split_once(told).map(|(_, rest)| rest);
        let address = address.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        match address {
            Some(address) => break address,
            None => assert!(begun.elapsed() < SOON, "{name} does not begin: {said}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("application/openmetrics-text"),
        "{name}: {answer}"
    );
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.trim_end().ends_with("# EOF"), "{name}: {body}");
    body.to_owned()
}

/// Agent's and gate's.
pub(super) fn all_metrics() -> String {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::create_dir(at("kubelet")).unwrap();
    let agent = [
        "serve",
        "--node-name=n",
        &format!("--kubelet-root={}", at("kubelet")),
        &format!("--journal={}", at("journal")),
        &format!("--socket={}", at("agent.sock")),
        "--probes=127.0.0.1:0",
    ];
    let agent = metrics(
        AGENT,
        &agent,
        directory.path(),
        "probes are answered listen=",
    );
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": "https://127.0.0.1:1" } }],
        "users": [{ "name": "c", "user": {} }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    std::fs::write(at("kubeconfig"), kubeconfig.to_string()).unwrap();
    let gate = [
        format!("--kubeconfig={}", at("kubeconfig")),
        "--listen=127.0.0.1:0".to_owned(),
        "--probes=127.0.0.1:0".to_owned(),
        "--advertise=127.0.0.1".to_owned(),
        "--azure=false".to_owned(),
    ];
    let gate: Vec<_> = gate.iter().map(String::as_str).collect();
    agent + &metrics(GATE, &gate, directory.path(), "probes=")
}
