//! What the API server was asked by service accounts in namespace `velero`: its audit log.

use std::fs;

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Cluster;

pub(crate) const POLICY: &str = "audit-policy.json";
pub(crate) const LOG: &str = "audit.log";

/// A request that the API server has answered, or began to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// `system:serviceaccount:NAMESPACE:NAME`
    pub user: String,
    /// `get`, `watch`, …
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// With its subresource, `serviceaccounts/token`.
    pub resource: String,
    /// Empty if all of them, or one that is not named yet.
    pub name: String,
    /// Of the answer.
    pub code: u16,
    /// Which role allowed it, in words.
    pub reason: String,
}

impl Cluster {
    /// Requests for objects by service accounts in namespace `velero`, in their order.
    pub fn audit(&self) -> Result<Vec<Asked>> {
        let log = fs::read_to_string(self.directory().join(LOG))?;
        let mut asked = Vec::new();
        // The last line may be half written.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        for line in whole.lines() {
            let event: Event = serde_json::from_str(line)?;
            if let Some(object) = event.object_ref {
                let resource = [Some(object.resource), object.subresource];
                let resource: Vec<_> = resource.into_iter().flatten().collect();
                asked.push(Asked {
                    user: event.user.username,
                    verb: event.verb,
                    group: object.api_group.unwrap_or_default(),
                    resource: resource.join("/"),
                    name: object.name.unwrap_or_default(),
                    code: event.response_status.map_or(0, |status| status.code),
                    reason: event.annotations.reason,
                });
            }
        }
        Ok(asked)
    }
}

/// Metadata of what those accounts ask, and nothing else.
pub(crate) fn policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "Metadata", "userGroups": ["system:serviceaccounts:velero"] },
            { "level": "None" },
        ],
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    user: User,
    verb: String,
    object_ref: Option<Object>,
    response_status: Option<Status>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    resource: String,
    subresource: Option<String>,
    api_group: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(default, rename = "authorization.k8s.io/reason")]
    reason: String,
}
