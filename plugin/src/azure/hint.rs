//! What to do about a refusal, where that is known.

/// Empty, or ` — ` and what to do.
pub(super) fn hint(status: u16, code: &str, message: &str) -> String {
    let advice = match code {
        "LinkedAuthorizationFailed" => grant(
            after(message, "does not have permission to perform action"),
            after(message, "linked scope(s)"),
        ),
        "AuthorizationFailed" => grant(
            after(message, "to perform action"),
            after(message, "over scope"),
        ),
        "RequestDisallowedByPolicy" => "an Azure Policy of the subscription forbids this: add the tags \
            that it asks for (the location's `tags`), or have the plugin's resource group exempted"
            .to_owned(),
        "QuotaExceeded" | "OperationNotAllowed" if message.to_lowercase().contains("quota") => {
            "raise the subscription's quota, or delete old snapshots or disks".to_owned()
        }
        "SkuNotAvailable" | "DiskSkuNotAvailable" | "NotAvailableForSubscription" => {
            "this disk SKU cannot be had in that region and zone: set the location's `skuMapping` or \
             `zoneMapping`"
                .to_owned()
        }
        "ScopeLocked" => "a lock on the resource or its group forbids this: remove the lock".to_owned(),
        "InvalidAuthenticationTokenTenant" => {
            "the subscription belongs to another tenant: check AZURE_TENANT_ID and AZURE_SUBSCRIPTION_ID"
                .to_owned()
        }
        code if is_zone_code(code) => {
            "that zone cannot hold the disk: set the location's `zoneMapping`".to_owned()
        }
        code if code.to_lowercase().contains("immutab") => {
            "the snapshot is immutable until its term ends; nothing can delete it before".to_owned()
        }
        _ if status == 401 => {
            "Azure does not accept the token: check AZURE_TENANT_ID, AZURE_CLOUD_NAME and the node's clock"
                .to_owned()
        }
        _ => return String::new(),
    };
    format!(" — {advice}")
}

fn is_zone_code(code: &str) -> bool {
    let code = code.to_lowercase();
    code.contains("availabilityzone") || code.contains("zonenotsupported")
}

fn grant(action: Option<&str>, scope: Option<&str>) -> String {
    let action = action.unwrap_or("the action named above");
    let scope = scope.unwrap_or("the scope named above");
    format!("grant the plugin's identity {action} on {scope}")
}

/// The first text in single quotes after these words.
fn after<'a>(message: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(words)?;
    let (_, rest) = rest.split_once('\'')?;
    let (found, _) = rest.split_once('\'')?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_named_with_its_scope() {
        let linked = "The client 'c' with object id 'o' has permission to perform action \
            'Microsoft.Compute/snapshots/write' on scope '/s'; however, it does not have permission to \
            perform action 'Microsoft.Compute/disks/beginGetAccess/action' on the linked scope(s) \
            '/subscriptions/s/disks/d' or the linked scope(s) are invalid.";
        let plain = "The client 'c' with object id 'o' does not have authorization to perform action \
            'Microsoft.Compute/disks/read' over scope '/subscriptions/s' or the scope is invalid.";
        for (code, message, expected) in [
            (
                "LinkedAuthorizationFailed",
                linked,
                "grant the plugin's identity Microsoft.Compute/disks/beginGetAccess/action on \
                 /subscriptions/s/disks/d",
            ),
            (
                "AuthorizationFailed",
                plain,
                "grant the plugin's identity Microsoft.Compute/disks/read on /subscriptions/s",
            ),
        ] {
            assert_eq!(hint(403, code, message), format!(" — {expected}"), "{code}");
        }
    }

    #[test]
    fn what_is_unknown_gets_no_hint() {
        assert_eq!(hint(400, "InvalidParameter", "x"), "");
    }
}
