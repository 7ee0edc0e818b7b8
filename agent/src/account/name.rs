//! The name of a service account.

use std::{fmt, str::FromStr};

const USER: &str = "system:serviceaccount:";

/// A service account, written `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    namespace: String,
    name: String,
}

impl Account {
    /// As Kubernetes names it as a user.
    pub(crate) fn user_name(&self) -> String {
        format!("{USER}{}:{}", self.namespace, self.name)
    }

    pub(crate) fn from_user_name(user: &str) -> Option<Self> {
        let (namespace, name) = user.strip_prefix(USER)?.split_once(':')?;
        Self::new(namespace, name)
    }

    fn new(namespace: &str, name: &str) -> Option<Self> {
        let is_name = |text: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            !text.is_empty() && text.len() <= 253 && text.chars().all(plain)
        };
        (is_name(namespace) && is_name(name)).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('/')
            .and_then(|(namespace, name)| Self::new(namespace, name))
            .ok_or_else(|| "expected NAMESPACE/SERVICEACCOUNT, as in velero/velero".into())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let account: Account = "velero/velero-server.1".parse().unwrap();
        assert_eq!(account.to_string(), "velero/velero-server.1");
        assert_eq!(Account::from_user_name(&account.user_name()), Some(account));
        for text in ["", "velero", "velero/", "/velero", "a/b/c", "a:b/c", "A/b"] {
            assert!(text.parse::<Account>().is_err(), "{text:?}");
        }
        for user in [
            "admin",
            "system:serviceaccount:a",
            "system:serviceaccount:a:",
            "system:serviceaccount:a:b:c",
            "system:node:a:b",
        ] {
            assert_eq!(Account::from_user_name(user), None, "{user:?}");
        }
    }
}
