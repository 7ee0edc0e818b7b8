//! The variables that say who we are: those of the stock plugin's credentials file, else of the process.
//!
//! The file's form is Velero's own (`pkg/util/dotenv`): `KEY=VALUE` or `KEY: VALUE`, `export `, `#` comments,
//! quotes, and in double quotes `\n`, `\r`, `\\`, `\"`.

use std::{collections::BTreeMap, fmt, path::Path, path::PathBuf};

use super::ConnectError;

pub(super) const SUBSCRIPTION_ID: &str = "AZURE_SUBSCRIPTION_ID";
pub(super) const RESOURCE_GROUP: &str = "AZURE_RESOURCE_GROUP";
pub(super) const CLOUD_NAME: &str = "AZURE_CLOUD_NAME";
pub(super) const TENANT_ID: &str = "AZURE_TENANT_ID";
pub(super) const CLIENT_ID: &str = "AZURE_CLIENT_ID";
pub(super) const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
pub(super) const CLIENT_CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE";
pub(super) const CLIENT_CERTIFICATE_PATH: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
pub(super) const CLIENT_CERTIFICATE_PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
pub(super) const SEND_CERTIFICATE_CHAIN: &str = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN";
pub(super) const USERNAME: &str = "AZURE_USERNAME";
pub(super) const STORAGE_KEY: &str = "AZURE_STORAGE_KEY";
pub(super) const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const CREDENTIALS_FILE: &str = "AZURE_CREDENTIALS_FILE";

/// All of them.
pub const VARIABLES: [&str; 14] = [
    SUBSCRIPTION_ID,
    RESOURCE_GROUP,
    CLOUD_NAME,
    TENANT_ID,
    CLIENT_ID,
    CLIENT_SECRET,
    CLIENT_CERTIFICATE,
    CLIENT_CERTIFICATE_PATH,
    CLIENT_CERTIFICATE_PASSWORD,
    SEND_CERTIFICATE_CHAIN,
    USERNAME,
    STORAGE_KEY,
    FEDERATED_TOKEN_FILE,
    CREDENTIALS_FILE,
];

/// Reads a variable of the process.
pub(super) type ProcessVariable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where the variables come from; printed after the name of one: "in /credentials/cloud".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The credentials file, and what named it.
    File { path: PathBuf, named_by: String },
    /// No file is named anywhere.
    Process,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, named_by } => write!(f, "in {} ({named_by})", path.display()),
            Self::Process => f.write_str(
                "in the process environment (neither the location's `credentialsFile` nor \
                 AZURE_CREDENTIALS_FILE names a file)",
            ),
        }
    }
}

/// The variables of one location. Secrets are among them, so it has no `Debug`.
pub(super) struct Variables {
    file: Option<BTreeMap<String, String>>,
    process: BTreeMap<&'static str, String>,
    pub(super) origin: Origin,
}

impl Variables {
    /// The file that `location` names, else the one that `AZURE_CREDENTIALS_FILE` names, else the process.
    pub(super) fn load(
        location: Option<&Path>,
        process: ProcessVariable<'_>,
    ) -> Result<Self, ConnectError> {
        let from_process = || {
            process(CREDENTIALS_FILE)
                .filter(|path| !path.is_empty())
                .map(|path| (PathBuf::from(path), CREDENTIALS_FILE.to_owned()))
        };
        let named = location
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| {
                (
                    path.to_owned(),
                    "the location's `credentialsFile`".to_owned(),
                )
            })
            .or_else(from_process);
        let Some((path, named_by)) = named else {
            return Ok(Self {
                file: None,
                process: snapshot_of(process),
                origin: Origin::Process,
            });
        };
        let text = std::fs::read_to_string(&path).map_err(|source| ConnectError::File {
            what: "the credentials file",
            path: path.clone(),
            named_by: named_by.clone(),
            source,
        })?;
        let file = parse(&text).map_err(|line| ConnectError::Line {
            path: path.clone(),
            line,
        })?;
        Ok(Self {
            file: Some(file),
            process: snapshot_of(process),
            origin: Origin::File { path, named_by },
        })
    }

    /// The value, if set and not empty. With a file, only the file counts: several locations of one
    /// process have several identities.
    pub(super) fn get(&self, name: &'static str) -> Option<&str> {
        let value = match &self.file {
            Some(file) => file.get(name),
            None => self.process.get(name),
        };
        value.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// As [`Self::get`], and then from the process too: what the workload identity webhook sets there.
    pub(super) fn get_or_injected(&self, name: &'static str) -> Option<&str> {
        let injected = || self.process.get(name).map(String::as_str);
        self.get(name)
            .or_else(injected)
            .filter(|value| !value.is_empty())
    }

    /// The location's own choice of a name: in the file, else in the process.
    pub(super) fn named(&self, name: &str, process: ProcessVariable<'_>) -> Option<String> {
        let file = self.file.as_ref().and_then(|file| file.get(name)).cloned();
        let set = |value: &String| !value.is_empty();
        file.filter(set).or_else(|| process(name).filter(set))
    }

    pub(super) fn require(
        &self,
        name: &'static str,
        why: &'static str,
    ) -> Result<&str, ConnectError> {
        self.get(name).ok_or_else(|| self.missing(name, why))
    }

    pub(super) fn missing(&self, name: &'static str, why: &'static str) -> ConnectError {
        ConnectError::Missing {
            name,
            why,
            origin: self.origin.to_string(),
        }
    }
}

fn snapshot_of(process: ProcessVariable<'_>) -> BTreeMap<&'static str, String> {
    // An account key is asked for by its name alone.
    let identity = |name: &&str| ![STORAGE_KEY, CREDENTIALS_FILE].contains(name);
    let names = VARIABLES.into_iter().filter(identity);
    names
        .filter_map(|name| Some((name, process(name)?)))
        .collect()
}

/// The file's variables, or the number of the first line that is none. Its text is not repeated: it may be
/// a secret that was broken over two lines.
fn parse(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = without_comment(line.trim());
        if line.is_empty() {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim);
        let (key, value) = line
            .split_once(['=', ':'])
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(key, _)| !key.is_empty())
            .ok_or(index + 1)?;
        variables.insert(key.to_owned(), unquoted(value));
    }
    Ok(variables)
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('#', None) => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

fn unquoted(value: &str) -> String {
    let within = |quote: char| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    if let Some(inner) = within('"') {
        // In Velero's order, so that what it reads as one value we do too.
        inner
            .replace("\\n", "\n")
            .replace("\\r", "\r")
            .replace("\\\\", "\\")
            .replace("\\\"", "\"")
    } else {
        within('\'').unwrap_or(value).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_file_reads_as_velero_reads_it() {
        let text = "\u{feff}# comment\n\nAZURE_TENANT_ID=t-1\r\nexport AZURE_CLIENT_ID = c-1 # who\n\
                    AZURE_CLIENT_SECRET=\"a#b=c\"\nAZURE_CLOUD_NAME: AzureChinaCloud\n\
                    AZURE_CLIENT_CERTIFICATE=\"-----BEGIN\\nx\\n-----END\\n\"\nQ='it \"is\"'\nE=\n\
                    U=a=b:c\n";
        let read = parse(text).unwrap();
        for (name, value) in [
            ("AZURE_TENANT_ID", "t-1"),
            ("AZURE_CLIENT_ID", "c-1"),
            ("AZURE_CLIENT_SECRET", "a#b=c"),
            ("AZURE_CLOUD_NAME", "AzureChinaCloud"),
            ("AZURE_CLIENT_CERTIFICATE", "-----BEGIN\nx\n-----END\n"),
            ("Q", "it \"is\""),
            ("E", ""),
            ("U", "a=b:c"),
        ] {
            assert_eq!(read.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn a_line_that_is_no_variable_is_named_by_number_only() {
        assert_eq!(parse("A=1\n\nhunter2\n"), Err(3));
        assert_eq!(parse("=x"), Err(1));
    }

    #[test]
    fn the_location_s_file_wins_over_the_process_s() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("location"), "AZURE_TENANT_ID=location").unwrap();
        std::fs::write(path("process"), "AZURE_TENANT_ID=process").unwrap();
        let process = |name: &str| match name {
            CREDENTIALS_FILE => path("process").to_str().map(str::to_owned),
            TENANT_ID => Some("environment".to_owned()),
            CLIENT_ID => Some("injected".to_owned()),
            _ => None,
        };
        let both = Variables::load(Some(&path("location")), &process).unwrap();
        assert_eq!(both.get(TENANT_ID), Some("location"));
        assert_eq!(
            both.get(CLIENT_ID),
            None,
            "a file is not mixed with the process"
        );
        assert_eq!(both.get_or_injected(CLIENT_ID), Some("injected"));
        let named = Variables::load(None, &process).unwrap();
        assert_eq!(named.get(TENANT_ID), Some("process"));
        let no_file = |name: &str| process(name).filter(|_| name != CREDENTIALS_FILE);
        let bare = Variables::load(None, &no_file).unwrap();
        assert_eq!(bare.get(TENANT_ID), Some("environment"));
    }

    #[test]
    fn a_missing_file_is_named_with_what_named_it() {
        let error = Variables::load(Some(Path::new("/nowhere/cloud")), &|_| None)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/cloud"), "{error}");
        assert!(error.contains("credentialsFile"), "{error}");
    }

    proptest! {
        #[test]
        fn plain_values_round_trip(key in "[A-Z][A-Z_]{0,20}", value in "[A-Za-z0-9~._/=+-]{0,40}") {
            let read = parse(&format!("{key}={value}")).unwrap();
            prop_assert_eq!(read.get(&key), Some(&value));
        }

        #[test]
        fn quoted_values_round_trip(value in "[ -!#-&(-\\[\\]-~\n]{0,60}") {
            let text = format!("K=\"{}\"", value.replace('\n', "\\n"));
            let read = parse(&text).unwrap();
            prop_assert_eq!(read.get("K"), Some(&value));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
