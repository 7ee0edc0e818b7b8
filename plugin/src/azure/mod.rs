//! The adapter to Azure: managed disks and snapshots through the resource manager.
//!
//! ```text
//! Client: one location (groups, apiTimeout)     Core: one identity, shared by its locations
//!   client, disks, snapshots   the port           core        calls with their retries
//!   disk_map, snapshot_map     Azure's JSON       operation   what Azure carries out later
//!                                                 watch, poller, pace   the end of a cut
//!   catalogue                  what there is
//!   rights                     what it may do
//!   failure, answer, hint      what went wrong    bucket, budget        request limits
//!   login_hint, connect_error                     wire, transport       HTTPS, the token put in
//!
//! who we are: environment, variables, cloud ─► identity ─► credentials, certificate ─► tokens
//! ```
mod answer;
pub mod blob;
mod bucket;
mod budget;
mod catalogue;
mod certificate;
mod client;
mod cloud;
mod connect_error;
mod core;
mod credentials;
mod disk_map;
mod disks;
mod environment;
mod failure;
mod hint;
mod identity;
mod login_hint;
mod operation;
mod pace;
mod poller;
mod retry;
mod rights;
mod snapshot_map;
mod snapshots;
mod storage_account;
#[cfg(test)]
mod tests;
mod tokens;
mod transport;
mod variables;
mod watch;
mod wire;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

pub use self::{
    client::Client,
    cloud::Cloud,
    connect_error::ConnectError,
    environment::{Environment, Settings},
    rights::Trial,
    variables::VARIABLES,
};
use self::{
    core::Core,
    identity::{Identity, Otherwise},
    transport::lock,
    variables::{ProcessVariable, Variables},
};

/// What makes two locations share one login: who, in which cloud, trusting whom.
type Key = (Identity, Cloud, Option<String>);

/// Velero inits a location anew for each volume that it restores.
static SHARED: LazyLock<Mutex<HashMap<Key, Arc<Core>>>> = LazyLock::new(Mutex::default);

/// Reads a location's credentials and prepares to use them. Sends nothing; the first call logs in.
///
/// # Errors
/// Whatever can be told without Azure: a file that is not there, a variable that is missing, a certificate
/// that its password does not open.
pub fn connect(settings: &Settings) -> Result<Client, ConnectError> {
    connect_as(settings, &|name| std::env::var(name).ok())
}

/// The same for who looks only at what others name by whole IDs: no resource group need be known.
///
/// # Errors
/// As of [`connect`].
pub fn connect_to_look(settings: &Settings) -> Result<Client, ConnectError> {
    let variables = Variables::load(settings.credentials_file.as_deref(), &|name| {
        std::env::var(name).ok()
    })?;
    client(settings, &variables, Otherwise::Machine)
}

/// The same for a person: where the variables name nobody it is who is logged in to the Azure CLI.
///
/// # Errors
/// As of [`connect`].
pub fn connect_by_hand(settings: &Settings) -> Result<Client, ConnectError> {
    let variables = Variables::load(settings.credentials_file.as_deref(), &|name| {
        std::env::var(name).ok()
    })?;
    client(settings, &variables, Otherwise::Person)
}

fn connect_as(settings: &Settings, process: ProcessVariable<'_>) -> Result<Client, ConnectError> {
    let variables = Variables::load(settings.credentials_file.as_deref(), process)?;
    environment::snapshots(settings, &variables)?;
    client(settings, &variables, Otherwise::Machine)
}

fn client(
    settings: &Settings,
    variables: &Variables,
    otherwise: Otherwise,
) -> Result<Client, ConnectError> {
    let environment = Environment::new(settings, variables)?;
    let core = core_of(
        variables,
        otherwise,
        environment.cloud.clone(),
        settings.ca_cert.as_deref(),
    )?;
    Ok(Client::new(core, environment, settings.api_timeout))
}

/// The core of the identity that the variables name.
fn core_of(
    variables: &Variables,
    otherwise: Otherwise,
    cloud: Cloud,
    ca_cert: Option<&str>,
) -> Result<Arc<Core>, ConnectError> {
    let identity = Identity::choose(variables, otherwise)?;
    let ca_cert = present(ca_cert);
    let key = (identity, cloud, ca_cert.map(str::to_owned));
    let known = lock(&SHARED).get(&key).cloned();
    if let Some(core) = known {
        return Ok(core);
    }
    let (identity, cloud, _) = key.clone();
    let made = Arc::new(Core::new(identity, cloud, ca_cert)?);
    // Another Init may have been quicker.
    Ok(lock(&SHARED).entry(key).or_insert(made).clone())
}

fn present(ca_cert: Option<&str>) -> Option<&str> {
    ca_cert.filter(|pem| !pem.trim().is_empty())
}
