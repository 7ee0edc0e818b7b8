//! Why a config is not taken.

/// A location's config that cannot be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that nobody reads.
    #[error("{location} config: `{key}` is no key{hint}; the keys are {known}")]
    UnknownKey {
        /// The kind of location.
        location: &'static str,
        /// The key.
        key: String,
        /// Empty, or the key that was probably meant.
        hint: String,
        /// All keys.
        known: String,
    },
    /// A value outside of what is allowed.
    #[error("{location} config: `{key}` is `{value}`, expected {expected}")]
    Value {
        /// The kind of location.
        location: &'static str,
        /// The key.
        key: &'static str,
        /// Its value; shortened if long.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A key that needs another.
    #[error("{location} config: `{key}` is `{value}` but `{needs}` is not set: set both")]
    Needs {
        /// The kind of location.
        location: &'static str,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The one that is missing.
        needs: &'static str,
    },
    /// A key that must be there.
    #[error("{location} config: `{key}` is not set, and there is no default")]
    Missing {
        /// The kind of location.
        location: &'static str,
        /// The key.
        key: &'static str,
    },
}
