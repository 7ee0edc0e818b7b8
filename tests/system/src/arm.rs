//! Azure Resource Manager over HTTPS, as programs other than ours speak to it.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, Method};
use serde_json::Value;
use stillpoint_lab::{Lab, ResourceId};

const VERSION: &str = "2024-03-02";

/// A client that has logged in.
pub struct Arm {
    client: Client,
    endpoint: String,
    token: String,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The URL of the operation that a request has begun.
    pub operation: Option<String>,
    /// The body; null if it is no JSON.
    pub body: Value,
}

impl fmt::Debug for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arm").finish_non_exhaustive()
    }
}

impl Arm {
    /// Logs in with the client secret of the lab's first identity.
    pub async fn login(lab: &Lab) -> Result<Self> {
        let ca = reqwest::Certificate::from_pem(lab.ca_pem().as_bytes())?;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder().tls_certs_only([ca]).build()?;
        let file = lab.credentials_file();
        let variable = |name: &str| {
            let value = file.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim_start_matches('=').to_owned()
        };
        let endpoint = lab.endpoint().to_owned();
        let login = client
            .post(format!(
                "{endpoint}/{}/oauth2/v2.0/token",
                variable("AZURE_TENANT_ID")
            ))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!(
                "grant_type=client_credentials&client_id={}&client_secret={}&scope={endpoint}/.default",
                variable("AZURE_CLIENT_ID"),
                variable("AZURE_CLIENT_SECRET"),
            ));
        let answer: Value = serde_json::from_str(&login.send().await?.text().await?)?;
        let token = answer["access_token"].as_str();
        let token = token.context("the lab gave no token")?.to_owned();
        Ok(Self {
            client,
            endpoint,
            token,
        })
    }

    /// What it logged in with.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// GET of a resource.
    pub async fn get(&self, id: &ResourceId) -> Result<Answer> {
        self.send(Method::GET, &self.url(id), None).await
    }

    /// PUT of a resource.
    pub async fn put(&self, id: &ResourceId, body: &Value) -> Result<Answer> {
        self.send(Method::PUT, &self.url(id), Some(body)).await
    }

    /// DELETE of a resource.
    pub async fn delete(&self, id: &ResourceId) -> Result<Answer> {
        self.send(Method::DELETE, &self.url(id), None).await
    }

    /// Waits for the end of what a request has begun: asks at once, and then `every` so often. Fails with what Azure
    /// says of an operation that did not succeed.
    pub async fn finish(&self, begun: Answer, every: Duration) -> Result<()> {
        ensure!(begun.status < 300, "{}: {}", begun.status, begun.body);
        let Some(operation) = begun.operation else {
            return Ok(());
        };
        loop {
            let answer = self.send(Method::GET, &operation, None).await?;
            match answer.body["status"].as_str() {
                Some("Succeeded") => return Ok(()),
                Some("InProgress") if answer.status < 300 => tokio::time::sleep(every).await,
                _ => bail!("{}: {}", answer.status, answer.body),
            }
        }
    }

    fn url(&self, id: &ResourceId) -> String {
        format!("{}{id}?api-version={VERSION}", self.endpoint)
    }

    async fn send(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await?;
        let operation = answer.headers().get("azure-asyncoperation");
        let operation = operation.and_then(|url| url.to_str().ok()).map(Into::into);
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok(Answer {
            status,
            operation,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        })
    }
}
