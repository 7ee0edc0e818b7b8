//! What to do about a failure, where that is known.
//!
//! Codes: <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes> and
//! <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>.

use super::answer::CLOCK;
use crate::azure::failure::{Failure, UNRESOLVED, UNTRUSTED};

/// Empty, or ` — ` and what to do.
pub(super) fn hint(failure: &Failure) -> String {
    let advice = match failure {
        Failure::Http {
            status,
            code,
            message,
            ..
        } => of_answer(*status, code, message),
        Failure::Connection(message) => Some(of_connection(message)),
        Failure::Timeout(_) => Some(
            "a firewall or proxy on the way, or the account's network rules, may swallow the requests",
        ),
        Failure::Malformed(_) | Failure::Login(_) => None,
    };
    advice.map_or_else(String::new, |advice| format!(" — {advice}"))
}

fn of_connection(message: &str) -> &'static str {
    if message.contains(UNTRUSTED) {
        "if its certificate is of your own authority, put that into the location's `caCert`"
    } else if message.contains(UNRESOLVED) {
        "no such host: the account does not exist, or is named wrongly; check the location's `storageAccount` and \
         `storageAccountURI`, AZURE_CLOUD_NAME, and the cluster's DNS"
    } else {
        "check the network from the cluster to the account, and the location's `storageAccountURI`"
    }
}

fn of_answer(status: u16, code: &str, message: &str) -> Option<&'static str> {
    let advice = match code {
        "ContainerNotFound" => {
            "create the container in that account, or name another as the location's `bucket`; a container that was \
             deleted can be restored while its soft-delete retention lasts"
        }
        "ContainerBeingDeleted" => {
            "it was deleted a moment ago: create it again once Azure is done, or restore it if it was soft-deleted"
        }
        "ContainerDisabled" => "an administrator has disabled the container: have it enabled again",
        "ResourceNotFound" => {
            "the account or container is not there: check the location's `storageAccount`, `storageAccountURI` and `bucket`"
        }
        "AccountIsDisabled" => {
            "the account is disabled, for instance because its subscription is: check the subscription's state"
        }
        "AccountBeingCreated" => "the account is still being made: try again in a minute",
        "AuthenticationFailed" if message.starts_with(CLOCK) => {
            "signatures are good for 15 minutes: set the node's clock right"
        }
        "AuthenticationFailed" => {
            "the key is not one of this account, or was regenerated: check the variable that \
             `storageAccountKeyEnvVar` names, and `storageAccount`"
        }
        "InvalidAuthenticationInfo" | "NoAuthenticationInformation" => {
            "the account does not accept this token or key: check that AZURE_TENANT_ID is the tenant of the account's \
             subscription, and the node's clock"
        }
        "AuthorizationFailure" | "AuthorizationSourceIPMismatch" => {
            "the account's firewall does not let this address in: allow the cluster's network in the account's \
             networking rules, or use a private endpoint"
        }
        "AuthorizationPermissionMismatch" | "InsufficientAccountPermissions" => {
            "assign \"Storage Blob Data Contributor\" on the account or container to the plugin's identity; it takes \
             some minutes to count"
        }
        "AuthorizationProtocolMismatch" | "AccountRequiresHttps" => {
            "the account is reached over https only: write `storageAccountURI` with https://"
        }
        "TlsVersionNotPermitted" => {
            "the account asks for a newer TLS than a proxy on the way speaks"
        }
        "KeyBasedAuthenticationNotPermitted" => {
            "the account does not allow its keys: remove `storageAccountKeyEnvVar` and set `useAAD` to true, with \
             \"Storage Blob Data Contributor\" for the plugin's identity"
        }
        "InvalidBlobOrBlock" | "InvalidBlockList" => {
            "blocks of another tool's or version's unfinished upload may be in the way: they vanish after a week, or \
             when the object is deleted"
        }
        "BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold" => {
            "an immutability policy or a legal hold protects the object: it can be neither replaced nor deleted before \
             that ends"
        }
        "LeaseIdMissing" => "somebody holds a lease on it: break the lease, or wait for its end",
        "BlobArchived" | "BlobBeingRehydrated" => {
            "the object is in the archive tier: rehydrate it to hot or cool; exclude Velero's objects from the \
             account's lifecycle rules"
        }
        "InvalidBlobType" => {
            "what is there under this name is no block blob: delete it, or use another `prefix`"
        }
        "BlobOperationNotSupported"
        | "FilesystemOnlyOperation"
        | "EndpointUnsupportedAccountFeatures" => {
            "it was made through the Data Lake interface, or the account has a feature that excludes this: use another \
             container or account"
        }
        "SnapshotsPresent" => "the object has snapshots: delete them first",
        "UnauthorizedBlobOverwrite" => {
            "the credential may write but not replace objects: it needs full permission"
        }
        "ServerBusy" => {
            "the account is over its limits: let fewer backups run at a time, or use an account of its own"
        }
        "OperationTimedOut" => "Azure was too slow: set the location's `blockSizeInBytes` lower",
        "InvalidResourceName" | "InvalidUri" | "OutOfRangeInput" => {
            "check the location's `bucket`, `prefix` and `storageAccountURI`"
        }
        _ => return of_status(status),
    };
    Some(advice)
}

fn of_status(status: u16) -> Option<&'static str> {
    match status {
        401 | 403 => Some("check the credential and its role, and the account's networking rules"),
        407 => Some("a proxy wants a login: check HTTPS_PROXY and NO_PROXY"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::azure::blob::BlobError;

    fn http(status: u16, code: &str, message: &str) -> Failure {
        Failure::Http {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            retry_after: None,
        }
    }

    #[test]
    fn what_a_person_can_do_is_said() {
        for (failure, expected) in [
            (http(404, "ContainerNotFound", "m"), "`bucket`"),
            (http(409, "ContainerBeingDeleted", "m"), "create it again"),
            (
                http(403, "AuthenticationFailed", "m"),
                "`storageAccountKeyEnvVar`",
            ),
            (
                http(
                    403,
                    "AuthenticationFailed",
                    "this node's clock is 20 minutes behind Azure's",
                ),
                "the node's clock",
            ),
            (http(403, "AuthorizationFailure", "m"), "firewall"),
            (
                http(403, "AuthorizationPermissionMismatch", "m"),
                "Storage Blob Data Contributor",
            ),
            (
                http(403, "KeyBasedAuthenticationNotPermitted", "m"),
                "`useAAD`",
            ),
            (
                http(401, "InvalidAuthenticationInfo", "m"),
                "AZURE_TENANT_ID",
            ),
            (http(409, "BlobImmutableDueToPolicy", "m"), "immutability"),
            (http(400, "InvalidBlobOrBlock", "m"), "a week"),
            (http(503, "ServerBusy", "m"), "limits"),
            (http(407, "ProxyAuthenticationRequired", "m"), "HTTPS_PROXY"),
            (
                Failure::Connection(
                    "a.blob cannot be reached: dns error: failed to lookup".to_owned(),
                ),
                "does not exist",
            ),
            (Failure::Timeout(Duration::from_secs(1)), "firewall"),
        ] {
            let error = BlobError::of(
                failure,
                "container c of storage account a".to_owned(),
                Duration::ZERO,
            );
            let error = error.to_string();
            let (told, advice) = error.split_once(" — ").unwrap_or((&error, ""));
            assert!(told.contains("container c of storage account a"), "{error}");
            assert!(advice.contains(expected), "{expected} in {error}");
        }
        assert_eq!(hint(&http(400, "InvalidHeaderValue", "m")), "");
    }
}
