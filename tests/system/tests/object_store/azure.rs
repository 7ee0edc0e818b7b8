//! The lab beside a blob server: Entra, and the resource manager that knows the account.

use stillpoint_lab::{AccountKey, Identity, Lab, NewStorageAccount, ResourceId, Settings};
use stillpoint_system::{
    blob::{Account, Azurite},
    cloud::{Cloud, Config},
};
use tonic::Status;

use crate::fixture::{Opened, Setup, with};

pub(crate) struct Azure {
    pub(crate) lab: Lab,
    pub(crate) setup: Setup,
    /// The account's.
    pub(crate) id: ResourceId,
}

impl Azure {
    /// Before the shared server; `None`, and said, where the lab cannot run.
    pub(crate) async fn start() -> Option<Self> {
        Self::with(Azurite::shared().unwrap(), Settings::fast()).await
    }

    pub(crate) async fn with(azurite: &Azurite, settings: Settings) -> Option<Self> {
        if let Some(why) = stillpoint_loopfs::missing() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let lab = Lab::start(settings).await.unwrap();
        let setup = Setup::before(azurite).await;
        let (subscription, group) = (
            &lab.endpoints().subscription,
            &lab.endpoints().resource_group,
        );
        let account = &setup.account.name;
        let id = format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{account}"
        );
        let id = id.parse().unwrap();
        let new = NewStorageAccount {
            key1: Some(key(&setup.account)),
            ..NewStorageAccount::new(id, &setup.proxy.endpoint(account))
        };
        let id = lab.create_storage_account(&new).unwrap();
        Some(Self { lab, setup, id })
    }

    /// The account where it is, with the lab's first identity; empty values are left out.
    pub(crate) fn config(&self, more: &[(&str, &str)]) -> Config {
        let mut config = self.setup.location();
        config.extend(self.lab.location_config());
        let ca = format!("{}{}", self.setup.ca, self.lab.ca_pem());
        with(with(config, &[("caCert", &ca)]), more)
    }

    pub(crate) async fn open(&self, more: &[(&str, &str)]) -> Result<Opened, Status> {
        Opened::new(Cloud::host().unwrap(), &self.config(more)).await
    }

    /// How often keys were asked for.
    pub(crate) fn lists_of_keys(&self) -> usize {
        let requests = self.lab.requests();
        let lists = requests
            .iter()
            .filter(|request| request.path.ends_with("/listKeys"));
        lists.count()
    }

    /// The lab's identity may not do this.
    pub(crate) fn deny(&self, action: &str) {
        self.lab.add_identity(Identity {
            denied: vec![action.into()],
            ..self.lab.identity().clone()
        });
    }

    /// Where the cluster is, and no credential: lines of a credentials file.
    pub(crate) fn place(&self) -> String {
        let file = self.lab.credentials_file();
        let lines = file
            .lines()
            .filter(|line| line.contains("SUBSCRIPTION") || line.contains("RESOURCE_GROUP"));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

/// As the lab has it.
pub(crate) fn key(account: &Account) -> AccountKey {
    account.key().parse().unwrap()
}
