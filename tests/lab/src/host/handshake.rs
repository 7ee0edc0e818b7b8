//! The line with which a plugin announces itself.

use std::{path::PathBuf, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use thiserror::Error;

/// `1|2|unix|PATH|grpc|CERTIFICATE[|MULTIPLEX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Version of the services.
    pub version: u32,
    /// Where the plugin listens.
    pub socket: PathBuf,
    /// DER, under mutual TLS.
    pub certificate: Option<Vec<u8>>,
    /// The seventh field: whether the broker multiplexes.
    pub multiplex: Option<bool>,
}

/// Not such a line.
#[derive(Debug, Error)]
#[error("the plugin's first line is no handshake of go-plugin: {0:?}")]
pub struct HandshakeError(String);

impl FromStr for Handshake {
    type Err = HandshakeError;

    fn from_str(line: &str) -> Result<Self, HandshakeError> {
        parse(line).ok_or_else(|| HandshakeError(line.to_owned()))
    }
}

fn parse(line: &str) -> Option<Handshake> {
    let fields: Vec<_> = line.trim().split('|').collect();
    let ["1", version, "unix", socket, "grpc", certificate, rest @ ..] = fields.as_slice() else {
        return None;
    };
    let certificate = match *certificate {
        "" => None,
        text => Some(STANDARD_NO_PAD.decode(text).ok()?),
    };
    let multiplex = match rest {
        [] => None,
        [multiplex] => Some(multiplex.parse().ok()?),
        _ => return None,
    };
    Some(Handshake {
        version: version.parse().ok()?,
        socket: PathBuf::from(socket),
        certificate,
        multiplex,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let plain = Handshake {
            version: 2,
            socket: "/tmp/s".into(),
            certificate: None,
            multiplex: None,
        };
        for (line, expected) in [
            ("1|2|unix|/tmp/s|grpc|", Some(plain.clone())),
            (
                "1|2|unix|/tmp/s|grpc|AQI",
                Some(Handshake {
                    certificate: Some(vec![1, 2]),
                    ..plain.clone()
                }),
            ),
            (
                "1|2|unix|/tmp/s|grpc||false",
                Some(Handshake {
                    multiplex: Some(false),
                    ..plain.clone()
                }),
            ),
            ("2|2|unix|/tmp/s|grpc|", None),
            ("1|2|tcp|127.0.0.1:1|grpc|", None),
            ("1|2|unix|/tmp/s|grpc", None),
            ("1|2|unix|/tmp/s|grpc||maybe", None),
            ("", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
