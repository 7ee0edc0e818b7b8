//! The roles of the chart, compared with what was asked of the API server.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::json;
use stillpoint_cluster::{Asked, rendered};

use crate::World;

const FORBIDDEN: u16 = 403;
const CREATED: u16 = 201;
/// An API server that has just started knows no role yet, not even its own.
const STARTS: &str = "\"system:discovery\" not found";

/// What an account may do, or has done.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
    /// Empty: of any name.
    name: String,
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            group,
            resource,
            verb,
            name,
        } = self;
        write!(f, "{verb} {resource}.{group} {name}")
    }
}

impl World {
    /// Fails unless the account in namespace `velero` has needed every right in the chart's roles that begin with `role`,
    /// and has asked for nothing that they do not grant.
    pub async fn has_needed_its_roles(&self, account: &str, role: &str) -> Result<()> {
        let granted = granted(role).await?;
        let user = format!("system:serviceaccount:velero:{account}");
        let asked = self.cluster.audit()?;
        let asked: Vec<_> = asked.into_iter().filter(|one| one.user == user).collect();
        let denied = asked.iter().filter(|one| one.code == FORBIDDEN);
        let denied: Vec<_> = denied.filter(|one| !one.reason.contains(STARTS)).collect();
        ensure!(denied.is_empty(), "{account} was denied {denied:?}");
        let used: BTreeSet<_> = asked.iter().flat_map(|one| rights(one, &granted)).collect();
        let beyond: Vec<_> = used.difference(&granted).collect();
        let unused: Vec<_> = granted.difference(&used).collect();
        ensure!(
            beyond.is_empty() && unused.is_empty(),
            "{account}: granted and not needed {unused:?}, asked for beyond its roles {beyond:?}"
        );
        Ok(())
    }
}

/// The rights of the roles whose names begin so.
async fn granted(role: &str) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for object in rendered(&json!({})).await? {
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if !matches!(kind, "Role" | "ClusterRole") || !name.starts_with(role) {
            continue;
        }
        let rules: Vec<PolicyRule> = serde_json::from_value(object["rules"].clone())?;
        for rule in rules {
            let names = rule.resource_names.unwrap_or_else(|| vec![String::new()]);
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    for verb in &rule.verbs {
                        ensure!(
                            ![group, resource, verb].contains(&&"*".to_owned()),
                            "{name} grants everything of something"
                        );
                        rights.extend(names.iter().map(|name| Right {
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                            name: name.clone(),
                        }));
                    }
                }
            }
        }
    }
    (!rights.is_empty())
        .then_some(rights)
        .with_context(|| format!("the chart has no role {role}"))
}

/// What an answered request needed.
fn rights(asked: &Asked, granted: &BTreeSet<Right>) -> Vec<Right> {
    let right = |verb: &str| {
        let mut right = Right {
            group: asked.group.clone(),
            resource: asked.resource.clone(),
            verb: verb.to_owned(),
            name: asked.name.clone(),
        };
        // Of any name, unless only this one is granted.
        if !granted.contains(&right) {
            right.name.clear();
        }
        right
    };
    let mut needed = vec![right(&asked.verb)];
    // A patch that makes an object needs the right to make it too, which the server looks for by itself.
    if asked.verb == "patch" && asked.code == CREATED {
        needed.push(right("create"));
    }
    needed
}
