//! What is asked of a hold, and what no node could do.

use std::time::Duration;

use crate::error::{HoldError, LIMITS};

const MOST_VOLUMES: usize = 64;
const LONGEST_ID: usize = 200;
/// An Azure resource ID has some 200.
const LONGEST_HANDLE: usize = 1024;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) volumes: Vec<String>,
    pub(crate) limit: Duration,
    /// Who asks.
    pub(crate) holder: String,
}

impl Request {
    /// Refuses what no node could do.
    pub(super) fn check(&self) -> Result<(), HoldError> {
        let invalid = |message: String| Err(HoldError::Invalid(message));
        if self.id.is_empty() || self.id.len() > LONGEST_ID {
            return invalid(format!(
                "hold_id is {:?}: expected 1 to {LONGEST_ID} bytes, fresh for each hold",
                self.id
            ));
        }
        if self.volumes.is_empty() || self.volumes.len() > MOST_VOLUMES {
            return invalid(format!(
                "volumes has {} entries: expected 1 to {MOST_VOLUMES} volume handles",
                self.volumes.len()
            ));
        }
        if let Some(long) = self
            .volumes
            .iter()
            .find(|volume| volume.len() > LONGEST_HANDLE)
        {
            return invalid(format!(
                "volumes has an entry of {} bytes: expected a volume handle of at most {LONGEST_HANDLE}",
                long.len()
            ));
        }
        if self.volumes.iter().any(String::is_empty) {
            return invalid("volumes has an empty entry: expected volume handles of PVs".into());
        }
        check_limit("limit", self.limit)
    }
}

/// Refuses a limit outside 1s to 60s.
pub(super) fn check_limit(field: &'static str, limit: Duration) -> Result<(), HoldError> {
    if LIMITS.contains(&limit) {
        return Ok(());
    }
    Err(HoldError::Limit {
        field,
        seen: format!("{limit:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            id: "h".into(),
            volumes: vec!["v".into()],
            limit: Duration::from_secs(10),
            holder: "uid:0".into(),
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        request().check().unwrap();
        type Change = fn(&mut Request);
        let wrong: [(&str, Change); 9] = [
            ("999ms", |request| {
                request.limit = Duration::from_millis(999)
            }),
            ("60.001s", |request| {
                request.limit = Duration::from_millis(60_001)
            }),
            ("0ns", |request| request.limit = Duration::ZERO),
            ("hold_id", |request| request.id.clear()),
            ("hold_id", |request| request.id = "x".repeat(1000)),
            ("0 entries", |request| request.volumes.clear()),
            ("65 entries", |request| {
                request.volumes = vec!["v".into(); 65]
            }),
            ("1025 bytes", |request| {
                request.volumes.push("v".repeat(1025))
            }),
            ("empty entry", |request| request.volumes.push(String::new())),
        ];
        for (named, change) in wrong {
            let mut request = request();
            change(&mut request);
            let message = request.check().unwrap_err().to_string();
            assert!(message.contains(named), "{named}: {message}");
            assert!(message.contains("expected"), "{message}");
        }
    }
}
