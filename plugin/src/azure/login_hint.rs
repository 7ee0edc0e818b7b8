//! What a failed login means and what to do about it.
//!
//! Codes: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

use super::failure::Failure;

const ADVICE: [(&str, &str); 15] = [
    (
        "AADSTS7000215",
        "AZURE_CLIENT_SECRET is wrong: set the secret's value, not its ID",
    ),
    (
        "AADSTS7000222",
        "AZURE_CLIENT_SECRET has expired: make a new one",
    ),
    (
        "AADSTS700016",
        "AZURE_CLIENT_ID is not known in AZURE_TENANT_ID: check both",
    ),
    (
        "AADSTS7000229",
        "AZURE_CLIENT_ID has no service principal in AZURE_TENANT_ID: make one",
    ),
    (
        "AADSTS700027",
        "the client certificate is not registered with the application, or has expired",
    ),
    (
        "AADSTS700211",
        "the federated credential names another issuer than the token",
    ),
    (
        "AADSTS700212",
        "the federated credential names another audience than the token",
    ),
    (
        "AADSTS700213",
        "the federated credential names another subject than the token: check namespace and service account",
    ),
    (
        "AADSTS70021",
        "no federated credential of the application fits the token's issuer, subject and audience",
    ),
    (
        "AADSTS700024",
        "the assertion is outside its time: check the node's clock",
    ),
    (
        "AADSTS90002",
        "AZURE_TENANT_ID is not known in this cloud: check it and AZURE_CLOUD_NAME",
    ),
    (
        "AADSTS900023",
        "AZURE_TENANT_ID is neither a tenant's GUID nor its domain name",
    ),
    (
        "AADSTS900382",
        "the application belongs to another cloud: check AZURE_CLOUD_NAME",
    ),
    (
        "AADSTS500011",
        "the resource manager is not known in this tenant: check AZURE_CLOUD_NAME or `resourceManagerEndpoint`",
    ),
    (
        "AADSTS53003",
        "a conditional access policy forbids this login",
    ),
];

/// The reason in one line, with advice where it is known.
pub(super) fn explain(message: &str, last: Option<&Failure>, managed: bool) -> String {
    let reason = match (message.find("AADSTS"), last) {
        (Some(at), _) => entra_line(&message[at..]).to_owned(),
        // The crate only says that it could not parse the answer.
        (None, Some(failure)) if !managed => failure.to_string(),
        (None, _) => message.lines().next().unwrap_or_default().trim().to_owned(),
    };
    let known = ADVICE
        .iter()
        .find(|(code, _)| {
            reason
                .strip_prefix(code)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(|(_, advice)| *advice);
    let unreachable = matches!(last, Some(Failure::Connection(_)) | None);
    let advice = match known {
        Some(advice) => advice,
        None if managed && unreachable => {
            "no AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE(_PATH) or AZURE_FEDERATED_TOKEN_FILE is set, so \
             a managed identity was asked for; this node offers none"
        }
        None if managed => "check that the node has this identity, and AZURE_CLIENT_ID",
        None if unreachable => {
            "check the network, `activeDirectoryAuthorityURI` and, for its certificate, `caCert`"
        }
        None => return reason,
    };
    format!("{reason} — {advice}")
}

/// Entra adds trace and correlation IDs in further sentences or lines.
fn entra_line(text: &str) -> &str {
    let end = ["\n", "\r", "\\r", " Trace ID"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    text[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_reasons_come_with_advice() {
        for (message, expected) in [
            (
                "ClientSecretCredential authentication failed. AADSTS7000215: Invalid client secret provided. \
                 Trace ID: 1 Correlation ID: 2\nTo troubleshoot",
                "AADSTS7000215: Invalid client secret provided. — AZURE_CLIENT_SECRET is wrong",
            ),
            (
                "x AADSTS90002: Tenant 't' not found.\r\nTrace",
                "AADSTS90002: Tenant 't' not found. — AZURE_TENANT_ID",
            ),
        ] {
            let answered = Failure::Http {
                status: 401,
                code: String::new(),
                message: String::new(),
                retry_after: None,
            };
            let told = explain(message, Some(&answered), false);
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn a_longer_code_is_not_taken_for_a_shorter_one() {
        let told = explain("AADSTS7000219: other", None, false);
        assert!(!told.contains("federated"), "{told}");
    }
}
