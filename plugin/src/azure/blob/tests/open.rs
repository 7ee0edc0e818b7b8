//! Which credential and which endpoint a location gets.

use object_store::azure::AzureCredential;
use stillpoint_lab::{
    Credential, Identity, Lab, NewStorageAccount, ResourceId, settings::Settings,
};
use tempfile::TempDir;

use super::server::{ACCOUNT, OK, Server};
use crate::{
    azure::{
        blob::{Account, open::open_as},
        tests::start,
    },
    backup_location::StoreError,
    config::BackupSettings,
};

/// A lab whose storage account is served by `server`.
pub(super) struct Bench {
    pub(super) lab: Lab,
    pub(super) server: Server,
    pub(super) id: ResourceId,
    directory: TempDir,
}

/// `None`, said loudly, where there can be no lab.
pub(super) async fn bench(server: Server) -> Option<Bench> {
    let lab = start(Settings::fast()).await?;
    let id = lab.storage_account_id(ACCOUNT);
    let new = NewStorageAccount::new(id, server.url.as_str());
    let id = lab.create_storage_account(&new).unwrap();
    Some(Bench {
        lab,
        server,
        id,
        directory: tempfile::tempdir().unwrap(),
    })
}

impl Bench {
    pub(super) fn settings(&self) -> BackupSettings {
        let endpoint = self.lab.endpoint().parse().ok();
        BackupSettings {
            account: ACCOUNT.to_owned(),
            account_uri: None,
            key_variable: None,
            resource_group: None,
            subscription: None,
            block_size: None,
            use_entra: false,
            authority: endpoint.clone(),
            resource_manager: endpoint,
            credentials_file: Some(self.lab.endpoints().credentials_file.clone()),
            ca_cert: Some(format!("{}{}", self.lab.ca_pem(), self.server.certificate)),
        }
    }

    /// As [`Self::settings`], with a credentials file of these lines.
    fn with_file(&self, lines: &str) -> BackupSettings {
        let path = self.directory.path().join(uuid::Uuid::new_v4().to_string());
        std::fs::write(&path, lines).unwrap();
        BackupSettings {
            credentials_file: Some(path),
            ..self.settings()
        }
    }

    pub(super) async fn open(&self, settings: &BackupSettings) -> Result<Account, StoreError> {
        open_as(settings, &|_| None).await
    }

    /// How many requests the lab got whose path has this part.
    pub(super) fn requests(&self, part: &str) -> usize {
        let requests = self.lab.requests();
        let paths = requests.iter().map(|request| request.path.to_lowercase());
        paths.filter(|path| path.contains(part)).count()
    }

    async fn is_by_key(&self, settings: &BackupSettings) -> bool {
        let account = self.open(settings).await.unwrap();
        assert_eq!(account.wire.service(), &self.server.url);
        match account.wire.credential().await.unwrap().as_ref() {
            AzureCredential::AccessKey(_) => true,
            AzureCredential::BearerToken(_) => false,
            AzureCredential::SASToken(_) => panic!("nobody gave a signature"),
        }
    }

    async fn refusal(&self, settings: &BackupSettings) -> String {
        match self.open(settings).await {
            Ok(_) => panic!("it was opened"),
            Err(error) => error.to_string(),
        }
    }
}

async fn https() -> Option<Bench> {
    bench(Server::https(|_, _| OK).await).await
}

#[tokio::test]
async fn a_key_is_listed_and_the_endpoint_told_by_the_resource_manager() {
    let Some(bench) = https().await else { return };
    assert!(bench.is_by_key(&bench.settings()).await);
    assert_eq!(bench.requests("/listkeys"), 1);
    assert_eq!(bench.requests("/storageaccounts/velero0"), 2);
    bench.lab.clear_requests();
    let given = BackupSettings {
        account_uri: Some(bench.server.url.clone()),
        ..bench.settings()
    };
    assert!(bench.is_by_key(&given).await);
    assert_eq!(
        bench.requests("/storageaccounts/velero0"),
        1,
        "only the key"
    );
    assert_eq!(
        bench.requests("/oauth2/"),
        0,
        "the login of before is shared"
    );
}

#[tokio::test]
async fn entra_is_used_where_asked_for_and_where_no_key_can_be_had() {
    let Some(bench) = https().await else { return };
    let asked = BackupSettings {
        use_entra: true,
        ..bench.settings()
    };
    assert!(!bench.is_by_key(&asked).await);
    assert_eq!(bench.requests("/listkeys"), 0);

    let (tenant, secret) = (&bench.lab.endpoints().tenant, "a-secret-of-somebody");
    let credential = Credential::Secret(secret.to_owned());
    let reader = Identity {
        denied: vec!["Microsoft.Storage/storageAccounts/listKeys/action".to_owned()],
        ..Identity::new(tenant, vec![credential])
    };
    bench.lab.add_identity(reader.clone());
    let login = format!(
        "AZURE_TENANT_ID={tenant}\nAZURE_CLIENT_ID={}\nAZURE_CLIENT_SECRET={secret}\n",
        reader.client_id
    );
    let group = format!(
        "AZURE_SUBSCRIPTION_ID={}\nAZURE_RESOURCE_GROUP={}\n",
        bench.lab.endpoints().subscription,
        bench.lab.endpoints().resource_group
    );
    let denied = bench.with_file(&format!("{login}{group}"));
    assert!(!bench.is_by_key(&denied).await, "not allowed to list");
    let groupless = BackupSettings {
        account_uri: Some(bench.server.url.clone()),
        ..bench.with_file(&login)
    };
    assert!(!bench.is_by_key(&groupless).await, "no group");

    let allow = |allowed| bench.lab.allow_shared_key_access(&bench.id, allowed);
    allow(Some(false)).unwrap();
    assert!(!bench.is_by_key(&bench.settings()).await, "keys forbidden");
    allow(None).unwrap();
    bench.lab.lock(&bench.id).unwrap();
    assert!(!bench.is_by_key(&bench.settings()).await, "locked");
}

#[tokio::test]
async fn a_named_key_needs_nothing_else() {
    let Some(bench) = bench(Server::plain(|_, _| OK).await).await else {
        return;
    };
    let named = BackupSettings {
        key_variable: Some("MY_KEY".to_owned()),
        account_uri: Some(bench.server.url.clone()),
        ..bench.with_file("MY_KEY=a2V5\n")
    };
    assert!(bench.is_by_key(&named).await);
    let elsewhere = BackupSettings {
        key_variable: Some("OTHER_KEY".to_owned()),
        ..named.clone()
    };
    let process = |name: &str| (name == "OTHER_KEY").then(|| "a2V5".to_owned());
    open_as(&elsewhere, &process).await.map(|_| ()).unwrap();
    let usual = BackupSettings {
        account_uri: None,
        ..named.clone()
    };
    let account = bench.open(&usual).await.unwrap();
    let service = account.wire.service().as_str();
    assert_eq!(service, "https://velero0.blob.core.windows.net/");
    assert_eq!(bench.lab.requests().len(), 0);

    let error = bench.refusal(&elsewhere).await;
    for part in [
        "OTHER_KEY",
        "storageAccountKeyEnvVar",
        "set neither there",
        "process",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let broken = BackupSettings {
        credentials_file: bench.with_file("MY_KEY=hunter2!\n").credentials_file,
        ..named
    };
    let error = bench.refusal(&broken).await;
    assert!(
        error.contains("base64") && !error.contains("hunter2"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_said_when_the_location_is_opened() {
    let Some(bench) = https().await else { return };
    let missing = BackupSettings {
        account: "nobody".to_owned(),
        ..bench.settings()
    };
    let error = bench.refusal(&missing).await;
    for part in [
        "nobody",
        "ResourceNotFound",
        "`storageAccount`",
        "AZURE_RESOURCE_GROUP",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let elsewhere = BackupSettings {
        resource_group: Some("not-there".to_owned()),
        ..bench.settings()
    };
    let error = bench.refusal(&elsewhere).await;
    for part in ["not-there", "ResourceGroupNotFound", "`resourceGroup`"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let readable = BackupSettings {
        use_entra: true,
        account_uri: Some("http://127.0.0.1:1/velero0".parse().unwrap()),
        ..bench.settings()
    };
    let error = bench.refusal(&readable).await;
    for part in ["storageAccountURI", "http://127.0.0.1:1/velero0", "https"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let (tenant, client) = (
        &bench.lab.endpoints().tenant,
        &bench.lab.identity().client_id,
    );
    let wrong = BackupSettings {
        use_entra: true,
        ..bench.with_file(&format!(
            "AZURE_TENANT_ID={tenant}\nAZURE_CLIENT_ID={client}\nAZURE_CLIENT_SECRET=hunter2\n"
        ))
    };
    let error = bench.refusal(&wrong).await;
    for part in ["velero0", "AADSTS7000215", "AZURE_CLIENT_SECRET is wrong"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}
