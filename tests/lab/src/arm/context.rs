//! A request on its way through ARM, with whom it comes from and what it may do.

use std::sync::Arc;

use super::{
    body::Encryption,
    refusal::{LinkedDenial, Refusal},
};
use crate::{ResourceId, glob, shared::Shared, web::Call, world::World};

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) client: String,
    pub(crate) object: String,
    /// Actions it is denied, as patterns.
    pub(crate) denied: Vec<String>,
}

/// A request within the locked world.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) world: &'a mut World,
    pub(crate) call: &'a Call,
    pub(crate) principal: &'a Principal,
    pub(crate) subscription: &'a str,
    /// `api-version`.
    pub(crate) version: &'a str,
}

impl Context<'_> {
    fn denied(&self, action: &str) -> bool {
        self.world.actions.note(&self.principal.client, action);
        let patterns = self.principal.denied.iter().chain(&self.call.effects.deny);
        patterns
            .into_iter()
            .any(|pattern| glob::matches(pattern, action))
    }

    /// 403 if the principal may not do `action` over `scope`.
    pub(crate) fn authorize(&self, action: &str, scope: &str) -> Result<(), Refusal> {
        if !self.denied(action) {
            return Ok(());
        }
        let Principal { client, object, .. } = self.principal;
        Err(Refusal::Denied {
            client: client.clone(),
            object: object.clone(),
            action: action.into(),
            scope: scope.into(),
        })
    }

    /// 403 if what it may do needs, on another resource, an action that it may not.
    pub(crate) fn authorize_linked(
        &self,
        action: &str,
        scope: &ResourceId,
        linked_action: &str,
        linked_scope: &ResourceId,
    ) -> Result<(), Refusal> {
        if !self.denied(linked_action) {
            return Ok(());
        }
        let Principal { client, object, .. } = self.principal;
        Err(Refusal::LinkedDenied(Box::new(LinkedDenial {
            client: client.clone(),
            object: object.clone(),
            action: action.into(),
            scope: scope.to_string(),
            linked_action: linked_action.into(),
            linked_scope: linked_scope.to_string(),
        })))
    }

    /// 403 if the disk encryption set that is named may not be read.
    pub(crate) fn authorize_encryption(
        &self,
        action: &str,
        scope: &ResourceId,
        encryption: Option<&Encryption>,
    ) -> Result<(), Refusal> {
        let set = encryption.and_then(|encryption| encryption.disk_encryption_set_id.as_deref());
        let Some(set) = set.and_then(|set| set.parse().ok()) else {
            return Ok(());
        };
        self.authorize_linked(
            action,
            scope,
            "Microsoft.Compute/diskEncryptionSets/read",
            &set,
        )
    }

    /// Notes read-only members of the body in the log.
    pub(crate) fn note_ignored(&mut self, ignored: Vec<String>) {
        if let Some(record) = self.world.log.get(self.call.number) {
            record.ignored = ignored;
        }
    }
}
