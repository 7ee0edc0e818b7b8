//! The one place where errors become what Velero sees: a gRPC status.

use std::error::Error;

use tonic::{Code, Status};

use crate::{
    goplugin::CallError,
    velero::{InitError, NameError, RequestError, Unwired},
};

/// An error and what caused it, in one line. Velero shows the message of a status and nothing else.
pub fn report(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause in their own message.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        let code = match error {
            CallError::Stopping => Code::Unavailable,
            CallError::Panicked => Code::Internal,
        };
        Self::new(code, report(&error))
    }
}

impl From<NameError> for Status {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::AlsoServe(_) => Code::FailedPrecondition,
            NameError::NotServed { .. } => Code::InvalidArgument,
        };
        Self::new(code, report(&error))
    }
}

impl From<InitError> for Status {
    fn from(error: InitError) -> Self {
        let code = match error {
            InitError::Never(_) | InitError::Failed { .. } => Code::FailedPrecondition,
        };
        Self::new(code, report(&error))
    }
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let code = match error {
            RequestError::PersistentVolume(_) => Code::InvalidArgument,
            RequestError::Answer(_) => Code::Internal,
        };
        Self::new(code, report(&error))
    }
}

impl From<Unwired> for Status {
    fn from(error: Unwired) -> Self {
        Self::new(Code::Unimplemented, report(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn report_tells_causes_once() {
        let error = Layer(
            "a",
            Some(Box::new(Layer("b", Some(Box::new(Layer("c", None)))))),
        );
        assert_eq!(report(&error), "a: b: c");
        let error = Layer(
            "a: no such file",
            Some(Box::new(Layer("no such file", None))),
        );
        assert_eq!(report(&error), "a: no such file");
    }
}
