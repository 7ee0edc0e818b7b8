//! The one line on stdout that tells the host where the plugin is.

use std::{fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::environment::CORE_PROTOCOL;

/// `1|2|unix|PATH|grpc|CERTIFICATE[|MULTIPLEX]`.
pub(super) struct Handshake<'a> {
    pub(super) version: u32,
    pub(super) socket: &'a Path,
    /// DER of our certificate, under mutual TLS.
    pub(super) certificate: Option<&'a [u8]>,
    /// The host knows the seventh field; one that does not would take it for part of the sixth.
    pub(super) multiplex_field: bool,
}

impl fmt::Display for Handshake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = self
            .certificate
            .map(|der| STANDARD_NO_PAD.encode(der))
            .unwrap_or_default();
        write!(
            f,
            "{CORE_PROTOCOL}|{}|unix|{}|grpc|{certificate}",
            self.version,
            self.socket.display(),
        )?;
        if self.multiplex_field {
            // Broker streams over the main socket (yamux). No Velero asks for it, no service of ours opens
            // broker streams; a host that insists gets go-plugin's own clear refusal.
            f.write_str("|false")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_the_fields_that_were_asked_for() {
        let plain = Handshake {
            version: 2,
            socket: Path::new("/tmp/s"),
            certificate: None,
            multiplex_field: false,
        };
        assert_eq!(plain.to_string(), "1|2|unix|/tmp/s|grpc|");
        let tls = Handshake {
            certificate: Some(&[0xfb, 0xff, 0xfe, 1]),
            ..plain
        };
        assert_eq!(tls.to_string(), "1|2|unix|/tmp/s|grpc|+//+AQ");
        let multiplex = Handshake {
            certificate: None,
            multiplex_field: true,
            ..tls
        };
        assert_eq!(multiplex.to_string(), "1|2|unix|/tmp/s|grpc||false");
    }
}
