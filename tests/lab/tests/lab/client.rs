//! A client of the lab as strict as a test needs one.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use stillpoint_lab::{Lab, NewDisk, ResourceId, Settings};

/// A lab, or `None` where loop mounts cannot work; that is said and counts as skipped.
pub(crate) async fn lab(settings: Settings) -> Option<Lab> {
    if let Some(why) = stillpoint_loopfs::missing() {
        eprintln!("SKIPPED: {why}");
        return None;
    }
    Some(Lab::start(settings).await.unwrap())
}

/// HTTP/2, as the lab offers it.
pub(crate) fn http(lab: &Lab) -> reqwest::Client {
    builder(lab).build().unwrap()
}

pub(crate) fn http1(lab: &Lab) -> reqwest::Client {
    builder(lab).http1_only().build().unwrap()
}

fn builder(lab: &Lab) -> reqwest::ClientBuilder {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(lab.ca_pem().as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([ca])
        .timeout(Duration::from_secs(30))
}

/// The fields of a client-credentials request for the lab's first identity.
pub(crate) fn secret_form(lab: &Lab) -> Vec<(String, String)> {
    let file = lab.credentials_file();
    let value = |key: &str| {
        let prefix = format!("{key}=");
        file.lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap()
            .to_owned()
    };
    [
        ("grant_type", "client_credentials".into()),
        ("client_id", value("AZURE_CLIENT_ID")),
        ("client_secret", value("AZURE_CLIENT_SECRET")),
        ("scope", "https://management.azure.com/.default".into()),
    ]
    .map(|(name, value)| (name.into(), value))
    .to_vec()
}

pub(crate) fn form_body(form: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Status and `error.code`.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (
            self.status,
            self.body["error"]["code"].as_str().unwrap_or_default(),
        )
    }
}

/// A client that is logged in.
pub(crate) struct Arm<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) http: reqwest::Client,
    token: String,
}

pub(crate) async fn token(lab: &Lab, http: &reqwest::Client, form: &[(String, String)]) -> Reply {
    let url = format!(
        "{}/{}/oauth2/v2.0/token",
        lab.endpoint(),
        lab.endpoints().tenant
    );
    let request = http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form_body(form));
    reply(request.send().await.unwrap()).await
}

pub(crate) async fn reply(response: reqwest::Response) -> Reply {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap()
    };
    Reply {
        status,
        headers,
        body,
    }
}

impl<'a> Arm<'a> {
    pub(crate) async fn login(lab: &'a Lab) -> Self {
        let http = http(lab);
        let given = token(lab, &http, &secret_form(lab)).await;
        assert_eq!(given.status, 200, "{}", given.body);
        let token = given.body["access_token"].as_str().unwrap().to_owned();
        Self { lab, http, token }
    }

    pub(crate) fn with_token(lab: &'a Lab, token: &str) -> Self {
        Self {
            lab,
            http: http(lab),
            token: token.into(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let version = if path.contains("api-version") || path.starts_with("https:") {
            ""
        } else if path.contains('?') {
            "&api-version=2024-03-02"
        } else {
            "?api-version=2024-03-02"
        };
        let base = if path.starts_with("https:") {
            ""
        } else {
            self.lab.endpoint()
        };
        format!("{base}{path}{version}")
    }

    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let request = self
            .http
            .request(method, self.url(path))
            .bearer_auth(&self.token);
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        };
        request.send().await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        reply(self.try_send(method, path, body).await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: impl ToString) -> Reply {
        self.send(Method::GET, &path.to_string(), None).await
    }

    pub(crate) async fn put(&self, path: impl ToString, body: &Value) -> Reply {
        self.send(Method::PUT, &path.to_string(), Some(body)).await
    }

    pub(crate) async fn patch(&self, path: impl ToString, body: &Value) -> Reply {
        self.send(Method::PATCH, &path.to_string(), Some(body))
            .await
    }

    pub(crate) async fn delete(&self, path: impl ToString) -> Reply {
        self.send(Method::DELETE, &path.to_string(), None).await
    }

    /// Follows `Azure-AsyncOperation` to its end.
    pub(crate) async fn finish(&self, accepted: &Reply) -> Value {
        let operation = accepted
            .header("azure-asyncoperation")
            .unwrap_or_else(|| panic!("{}", accepted.body));
        until(|| async {
            let status = self.get(operation).await.body;
            (status["status"] != "InProgress").then_some(status)
        })
        .await
    }

    /// A disk made behind Azure's back.
    pub(crate) fn disk(&self, name: &str, change: impl FnOnce(&mut NewDisk)) -> ResourceId {
        let mut disk = NewDisk::new(self.lab.disk_id(name));
        change(&mut disk);
        self.lab.create_disk(&disk).unwrap()
    }

    /// Takes a snapshot and waits for it.
    pub(crate) async fn snapshot(&self, name: &str, disk: &ResourceId) -> ResourceId {
        let id = self.lab.snapshot_id(name);
        let accepted = self.put(&id, &snapshot_of(disk)).await;
        let status = self.finish(&accepted).await;
        assert_eq!(status["status"], "Succeeded", "{status}");
        id
    }
}

pub(crate) fn snapshot_of(disk: &ResourceId) -> Value {
    json!({"location": "westeurope", "properties": {"incremental": true,
        "creationData": {"createOption": "Copy", "sourceResourceId": disk}}})
}

/// Polls until there is something, at most 20 s.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(mut poll: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
