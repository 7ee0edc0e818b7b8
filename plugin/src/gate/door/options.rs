//! The door's part of the command line. Every option has an environment variable and a default that fits the manifests.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;

/// The options of the door.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Door, where the API server asks")]
pub struct Options {
    /// Address and port for admission requests, HTTPS; port 8443 of every address if not given
    #[arg(long, env = "STILLPOINT_GATE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Address and port for /healthz, /readyz and /metrics, plain HTTP; port 9464 of every address if not given
    #[arg(long, env = "STILLPOINT_GATE_PROBES")]
    pub probes: Option<SocketAddr>,
    /// PEM file: only clients with a certificate signed by one of these may ask. An API server has one where its
    /// AdmissionConfiguration names a kubeConfigFile; managed ones, as AKS, have none
    #[arg(long, env = "STILLPOINT_GATE_CLIENT_CA", value_parser = absolute)]
    pub client_ca: Option<PathBuf>,
    /// PEM file of the door's certificate, if somebody else renews it (cert-manager), who then also sets the caBundle; it is
    /// read again when it changes
    #[arg(long, env = "STILLPOINT_GATE_TLS_CERT", value_parser = absolute, requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, env = "STILLPOINT_GATE_TLS_KEY", value_parser = absolute, requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The Service by which API servers reach the gate, in its namespace
    #[arg(
        long,
        env = "STILLPOINT_GATE_SERVICE",
        default_value = "stillpoint-gate"
    )]
    pub service: String,
    /// The gate's own namespace; the pod's if not given, outside a cluster velero
    #[arg(long, env = "STILLPOINT_GATE_NAMESPACE")]
    pub namespace: Option<String>,
    /// An IP address for which the certificate is good too, where API servers reach the gate by a URL
    #[arg(long, env = "STILLPOINT_GATE_ADVERTISE")]
    pub advertise: Option<IpAddr>,
    /// The MutatingWebhookConfiguration whose caBundle is kept
    #[arg(
        long,
        env = "STILLPOINT_GATE_WEBHOOK_CONFIGURATION",
        default_value = "stillpoint-gate"
    )]
    pub webhook_configuration: String,
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("expected an absolute path".into())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Gate {
        #[command(flatten)]
        door: Options,
    }

    #[test]
    fn the_command_line_is_sound_and_needs_nothing() {
        Gate::command().debug_assert();
        let door = Gate::parse_from(["gate"]).door;
        assert_eq!(door.service, "stillpoint-gate");
        assert_eq!(door.webhook_configuration, "stillpoint-gate");
    }

    #[test]
    fn a_wrong_value_is_named_with_what_was_expected() {
        for (arguments, expected) in [
            (["--tls-cert", "/c"], "--tls-key"),
            (["--tls-key", "/k"], "--tls-cert"),
            (["--client-ca", "ca.pem"], "absolute path"),
            (["--listen", "8443"], "--listen"),
            (["--advertise", "gate"], "--advertise"),
        ] {
            let failed = Gate::try_parse_from(["gate"].iter().chain(&arguments)).unwrap_err();
            assert!(failed.to_string().contains(expected), "{failed}");
        }
    }
}
