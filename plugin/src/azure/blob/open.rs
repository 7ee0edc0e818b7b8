//! Opening a location: which credential, which endpoint. Decided as the stock plugin decides it (Velero's
//! `pkg/util/azure/storage.go`), but that where no key can be had Entra is used of itself.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Account, BlobError,
    access::{Access, NamedKey, Source, parse_key},
    delegation::Delegation,
    wire::Wire,
};
use crate::{
    azure::{
        ConnectError,
        cloud::Cloud,
        core_of,
        identity::Otherwise,
        present,
        storage_account::{Listed, Properties, StorageAccount},
        transport::Transport,
        variables::{self as name, Variables},
    },
    backup_location::StoreError,
    config::BackupSettings,
    model::ResourceGroup,
    ports::AzureError,
};

/// For the first token.
const LOGIN: Duration = Duration::from_secs(60);

/// Reads a variable of the process, from any thread.
pub(super) type Process<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Reads a location's credentials, and looks up what it leaves open: the account's key, its endpoint.
pub(crate) async fn open(
    settings: &BackupSettings,
    cancel: &CancellationToken,
) -> Result<Account, StoreError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(BlobError::Cancelled.into()),
        opened = open_as(settings, &|name| std::env::var(name).ok()) => opened,
    }
}

pub(super) async fn open_as(
    settings: &BackupSettings,
    process: Process<'_>,
) -> Result<Account, StoreError> {
    let variables = Variables::load(settings.credentials_file.as_deref(), process)?;
    let cloud = Cloud::new(
        variables.get(name::CLOUD_NAME).unwrap_or_default(),
        &variables.origin,
        settings.authority.as_ref(),
        settings.resource_manager.as_ref(),
    )?;
    // The stock plugin takes a key of that name before Entra, though not before one that it looks up.
    let usual_key = (settings.use_entra && variables.get(name::STORAGE_KEY).is_some())
        .then_some(name::STORAGE_KEY);
    match settings.key_variable.as_deref().or(usual_key) {
        Some(variable) => with_named_key(settings, variable, &cloud, process),
        None => with_identity(settings, &variables, cloud).await,
    }
}

fn with_named_key(
    settings: &BackupSettings,
    variable: &str,
    cloud: &Cloud,
    process: Process<'_>,
) -> Result<Account, StoreError> {
    let named = NamedKey {
        variable: variable.to_owned(),
        credentials_file: settings.credentials_file.clone(),
    };
    let (key, origin) = named.read(process)?;
    let service = match &settings.account_uri {
        Some(uri) => uri.clone(),
        None => usual_endpoint(settings, cloud)?,
    };
    let credential = format!("the key in {variable} {origin}");
    let access = Access::new(Source::Named(named), Some(key));
    let transport = Transport::shared(present(settings.ca_cert.as_deref()))?;
    Ok(account(settings, service, access, transport, &credential))
}

async fn with_identity(
    settings: &BackupSettings,
    variables: &Variables,
    cloud: Cloud,
) -> Result<Account, StoreError> {
    let usual = usual_endpoint(settings, &cloud)?;
    let core = core_of(
        variables,
        Otherwise::Machine,
        cloud,
        settings.ca_cert.as_deref(),
    )?;
    let tokens = core.storage_tokens()?;
    let known = group(settings, variables).map(|group| StorageAccount {
        core: core.clone(),
        group,
        name: settings.account.clone(),
    });
    let begun = Instant::now();
    let (told, logged_in) = tokio::join!(look_up(settings, known.as_ref()), async {
        match settings.use_entra {
            true => tokens.ensure(begun + LOGIN).await,
            false => Ok(()),
        }
    });
    let Told { listed, properties } = told?;
    let forbidden = properties.as_ref().is_some_and(|told| !told.allows_keys);
    let service = settings
        .account_uri
        .clone()
        .or_else(|| properties?.blob_endpoint)
        .unwrap_or(usual);
    let transport = core.wire.transport.clone();
    let identity = tokens.identity();
    let why = match (listed, known) {
        (Some(Listed::Key { name, value }), Some(known)) if !forbidden => {
            let key = parse_key(value.secret()).ok_or_else(|| ConnectError::Key {
                name,
                why: "is no account key",
                origin: format!("as the resource manager lists it for {known}"),
            })?;
            let credential = format!("the account's key, listed by {identity}");
            let access = Access::new(Source::Listed(Box::new(known), tokens.clone()), Some(key));
            return Ok(account(settings, service, access, transport, &credential));
        }
        (Some(Listed::Key { .. }), _) => "the account does not allow its keys".to_owned(),
        (Some(Listed::None(why)), _) => why,
        (None, _) if settings.use_entra => "`useAAD`".to_owned(),
        (None, _) => format!(
            "its keys cannot be listed without a resource group and a subscription, {} and {} {}",
            name::RESOURCE_GROUP,
            name::SUBSCRIPTION_ID,
            variables.origin
        ),
    };
    if service.scheme() != "https" {
        return Err(ConnectError::Endpoint {
            key: "storageAccountURI",
            value: service.into(),
        }
        .into());
    }
    let logged_in = match logged_in {
        Ok(()) => tokens.ensure(begun + LOGIN).await,
        Err(failure) => Err(failure),
    };
    logged_in.map_err(|failure| {
        let resource = format!("storage account {}", settings.account);
        BlobError::of(failure, resource, begun.elapsed())
    })?;
    let credential = format!("Entra: {identity} ({why})");
    let access = Access::new(Source::Entra(tokens.clone()), None);
    Ok(account(settings, service, access, transport, &credential))
}

/// What the resource manager tells; `None` is what it was not asked for, or did not tell.
#[derive(Default)]
struct Told {
    listed: Option<Listed>,
    properties: Option<Properties>,
}

async fn look_up(
    settings: &BackupSettings,
    known: Option<&StorageAccount>,
) -> Result<Told, AzureError> {
    let Some(account) = known else {
        return Ok(Told::default());
    };
    let (listed, properties) = tokio::join!(
        async {
            match settings.use_entra {
                true => None,
                false => Some(account.full_key().await),
            }
        },
        async {
            match settings.account_uri {
                Some(_) => None,
                None => Some(account.properties().await),
            }
        },
    );
    let listed = listed.transpose()?;
    let properties = match properties.transpose() {
        Ok(properties) => properties,
        // Asked again it may tell; a wrong guess would last as long as the process.
        Err(error) if listed.is_some() && error.is_retryable() => return Err(error),
        Err(error) => {
            tracing::debug!(%error, "the account's endpoint is not told: it is taken for the usual one");
            None
        }
    };
    Ok(Told { listed, properties })
}

fn account(
    settings: &BackupSettings,
    mut service: Url,
    access: Access,
    transport: Arc<Transport>,
    credential: &str,
) -> Account {
    let path = service.path().trim_end_matches('/').to_owned();
    service.set_path(&path);
    let name = &settings.account;
    tracing::info!(account = name, endpoint = %service, credential, "storage account opened");
    Account {
        wire: Wire::new(name.clone(), service, access, transport),
        block_size: settings.block_size,
        containers: Mutex::default(),
        delegation: Delegation::default(),
    }
}

/// Where the cloud has accounts that have no DNS zone of their own.
fn usual_endpoint(settings: &BackupSettings, cloud: &Cloud) -> Result<Url, ConnectError> {
    let text = format!("https://{}.blob.{}", settings.account, cloud.storage_suffix);
    Url::parse(&text).map_err(|_| ConnectError::Endpoint {
        key: "storageAccount",
        value: text,
    })
}

/// Where the account is, if anybody said.
fn group(settings: &BackupSettings, variables: &Variables) -> Option<ResourceGroup> {
    let or_variable = |given: &Option<String>, variable| {
        given
            .clone()
            .or_else(|| variables.get(variable).map(str::to_owned))
    };
    Some(ResourceGroup {
        subscription: or_variable(&settings.subscription, name::SUBSCRIPTION_ID)?,
        name: or_variable(&settings.resource_group, name::RESOURCE_GROUP)?,
    })
}
