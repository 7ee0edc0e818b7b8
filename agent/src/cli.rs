//! The command line. Every option of `serve` has an environment variable and a default that fits a node.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};

use crate::{account::Account, error::LIMITS};

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  the agent failed
  2  wrong usage: an unknown option, a value out of range
  3  refused: the filesystem cannot be frozen consistently, or must not be; the reason is printed
  4  the agent does not answer at the socket
  5  thaw: thawed, but the filesystem had not been frozen all the time
  6  doctor: something is wrong; what, and how to mend it, is printed";

/// The exit code of a doctor who found something.
pub(crate) const WRONG: u8 = 6;

/// Freezes filesystems of this node for as long as a call lives.
#[derive(Debug, Parser)]
#[command(name = "stillpoint-agent", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent of this node
    Serve(ServeOptions),
    /// Run by `serve`, never by hand
    #[command(hide = true)]
    Worker(ServeOptions),
    /// Show what is mounted, frozen and journalled; by whom, since when
    Status {
        /// Where the agent listens
        #[command(flatten)]
        socket: SocketOption,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check whether a hold on this node would find all that it needs; run it where the agent runs, with its options
    #[command(after_help = EXIT_CODES)]
    Doctor {
        /// Those of `serve`
        #[command(flatten)]
        options: ServeOptions,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Freeze the filesystem of PATH until `thaw` or the end of the TTL
    #[command(after_help = EXIT_CODES)]
    Freeze {
        /// A path on the filesystem
        path: PathBuf,
        /// The longest it stays frozen, 1s to 60s
        #[arg(long, value_parser = duration, default_value = "30s")]
        ttl: Duration,
        /// Where the agent listens
        #[command(flatten)]
        socket: SocketOption,
    },
    /// Thaw what `freeze` froze
    #[command(after_help = EXIT_CODES)]
    Thaw {
        /// A path on the filesystem
        path: PathBuf,
        /// Where the agent listens
        #[command(flatten)]
        socket: SocketOption,
    },
}

/// Where the agent listens.
#[derive(Clone, Debug, Args)]
pub struct SocketOption {
    /// The agent's unix socket
    #[arg(long, env = "STILLPOINT_SOCKET", value_parser = absolute, default_value = "/run/stillpoint/agent.sock")]
    pub socket: PathBuf,
}

/// The options of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeOptions {
    /// The node's name in Kubernetes; the host's name if not given
    #[arg(long, env = "STILLPOINT_NODE_NAME", default_value_t = host_name())]
    pub node_name: String,
    /// The kubelet's root directory
    #[arg(long, env = "STILLPOINT_KUBELET_ROOT", value_parser = absolute, default_value = "/var/lib/kubelet")]
    pub kubelet_root: PathBuf,
    /// Directory, on the node's tmpfs, in which freezes are written down so that a restarted agent undoes them
    #[arg(long, env = "STILLPOINT_JOURNAL", value_parser = absolute, default_value = "/run/stillpoint/journal")]
    pub journal: PathBuf,
    /// The agent's unix socket
    #[command(flatten)]
    pub door: SocketOption,
    /// Address and port for /healthz and /readyz, plain HTTP; port 9464 of every address in a pod, elsewhere none if not given
    #[arg(long, env = "STILLPOINT_PROBES")]
    pub probes: Option<SocketAddr>,
    /// The TCP door
    #[command(flatten)]
    pub remote: RemoteOptions,
}

/// The TCP door, by which plugins in the cluster ask. It is open where Kubernetes can be asked about them: in a pod with a
/// service account, or with a kubeconfig.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TCP door, where Kubernetes is")]
pub struct RemoteOptions {
    /// Address and port to listen on; [::]:7443 if not given
    #[arg(long, env = "STILLPOINT_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The IP address at which plugins reach this agent: the pod's
    #[arg(long, env = "STILLPOINT_ADVERTISE")]
    pub advertise: Option<IpAddr>,
    /// Namespace of the agents' Leases; if not given the pod's own, outside a cluster velero
    #[arg(long, env = "STILLPOINT_NAMESPACE")]
    pub namespace: Option<String>,
    /// A service account that may hold volumes frozen, as NAMESPACE/SERVICEACCOUNT; several by commas or repetition
    #[arg(
        long,
        env = "STILLPOINT_ACCEPT",
        value_delimiter = ',',
        default_value = "velero/velero"
    )]
    pub accept: Vec<Account>,
    /// A kubeconfig, for an agent outside a pod
    #[arg(long, env = "STILLPOINT_KUBECONFIG", value_parser = absolute)]
    pub kubeconfig: Option<PathBuf>,
}

impl RemoteOptions {
    fn to_args(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        let mut add = |name: &str, value: OsString| args.extend([name.into(), value]);
        if let Some(listen) = self.listen {
            add("--listen", listen.to_string().into());
        }
        if let Some(advertise) = self.advertise {
            add("--advertise", advertise.to_string().into());
        }
        if let Some(namespace) = &self.namespace {
            add("--namespace", namespace.into());
        }
        for account in &self.accept {
            add("--accept", account.to_string().into());
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            add("--kubeconfig", kubeconfig.into());
        }
        args
    }
}

impl ServeOptions {
    /// The same options as arguments.
    pub(crate) fn to_args(&self) -> Vec<OsString> {
        let option = |name: &str, value: &PathBuf| [name.into(), value.clone().into_os_string()];
        let mut args = vec!["--node-name".into(), OsString::from(&self.node_name)];
        args.extend(option("--kubelet-root", &self.kubelet_root));
        args.extend(option("--journal", &self.journal));
        args.extend(option("--socket", &self.door.socket));
        if let Some(probes) = self.probes {
            args.extend(["--probes".into(), probes.to_string().into()]);
        }
        args.extend(self.remote.to_args());
        args
    }
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("expected an absolute path".into())
    }
}

/// `30s`, `1500ms` or `1m`, within the limits of a hold.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err("expected a number and a unit, ms, s or m, as in 30s".into()),
    };
    let millis = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or("expected a number and a unit, as in 30s")?;
    Some(Duration::from_millis(millis))
        .filter(|duration| LIMITS.contains(duration))
        .ok_or_else(|| "expected 1s to 60s".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ttls_are_read_and_bounded() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("1m", Some(60_000)),
            ("1500ms", Some(1500)),
            ("999ms", None),
            ("61s", None),
            ("2m", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("", None),
            ("99999999999999999999s", None),
            ("18446744073709551615m", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(duration(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_worker_gets_the_options_of_serve() {
        let args = [
            "a",
            "serve",
            "--node-name",
            "-n",
            "--journal",
            "/j",
            "--socket",
            "/s",
            "--probes",
            "[::1]:8",
            "--listen",
            "[::1]:7",
            "--advertise",
            "fd00::7",
            "--namespace",
            "backup",
            "--accept",
            "velero/velero,gate/gate",
            "--accept",
            "a/b",
            "--kubeconfig",
            "/k",
        ];
        let args = args.map(|arg| if arg == "-n" { "n" } else { arg });
        let Command::Serve(options) = Cli::parse_from(args).command else {
            panic!("not serve")
        };
        assert_eq!(options.remote.accept.len(), 3);
        let again = ["a".into(), "worker".into()]
            .into_iter()
            .chain(options.to_args());
        let Command::Worker(worker) = Cli::parse_from(again).command else {
            panic!("not worker")
        };
        assert_eq!(format!("{worker:?}"), format!("{options:?}"));
    }
}
