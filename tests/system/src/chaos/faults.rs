//! The faults, by name.

use std::{fmt, str::FromStr};

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "their names are their description")]
pub enum Fault {
    None,
    WorkerKilled,
    WorkerStopped,
    SupervisorKilled,
    SupervisorStopped,
    ContainerKilled,
    AgentUpdated,
    PluginKilled,
    PluginStopped,
    PluginTerminated,
    HostCancels,
    HostKilled,
    ConnectionCut,
    ConnectionStalled,
    AzureThrottles,
    AzureErrs,
    AzureBreaksOff,
    AzureIsSlow,
    AzureFails,
    AzureHangs,
    SlowDisk,
    JournalFull,
    ClockJumps,
    LeaseExpired,
    ApiLost,
}

impl Fault {
    /// All, in the order of the table.
    pub const ALL: [Self; 25] = [
        Self::None,
        Self::WorkerKilled,
        Self::WorkerStopped,
        Self::SupervisorKilled,
        Self::SupervisorStopped,
        Self::ContainerKilled,
        Self::AgentUpdated,
        Self::PluginKilled,
        Self::PluginStopped,
        Self::PluginTerminated,
        Self::HostCancels,
        Self::HostKilled,
        Self::ConnectionCut,
        Self::ConnectionStalled,
        Self::AzureThrottles,
        Self::AzureErrs,
        Self::AzureBreaksOff,
        Self::AzureIsSlow,
        Self::AzureFails,
        Self::AzureHangs,
        Self::SlowDisk,
        Self::JournalFull,
        Self::ClockJumps,
        Self::LeaseExpired,
        Self::ApiLost,
    ];

    /// As it is told and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::WorkerKilled => "worker-killed",
            Self::WorkerStopped => "worker-stopped",
            Self::SupervisorKilled => "supervisor-killed",
            Self::SupervisorStopped => "supervisor-stopped",
            Self::ContainerKilled => "container-killed",
            Self::AgentUpdated => "agent-updated",
            Self::PluginKilled => "plugin-killed",
            Self::PluginStopped => "plugin-stopped",
            Self::PluginTerminated => "plugin-terminated",
            Self::HostCancels => "host-cancels",
            Self::HostKilled => "host-killed",
            Self::ConnectionCut => "connection-cut",
            Self::ConnectionStalled => "connection-stalled",
            Self::AzureThrottles => "azure-throttles",
            Self::AzureErrs => "azure-errs",
            Self::AzureBreaksOff => "azure-breaks-off",
            Self::AzureIsSlow => "azure-is-slow",
            Self::AzureFails => "azure-fails",
            Self::AzureHangs => "azure-hangs",
            Self::SlowDisk => "slow-disk",
            Self::JournalFull => "journal-full",
            Self::ClockJumps => "clock-jumps",
            Self::LeaseExpired => "lease-expired",
            Self::ApiLost => "api-lost",
        }
    }

    /// It is of the cluster's API, or cannot be where the plugin finds the agent by it.
    pub(super) fn fits(self, in_kubernetes: bool) -> bool {
        match self {
            Self::LeaseExpired | Self::ApiLost => in_kubernetes,
            Self::ConnectionCut | Self::ConnectionStalled => !in_kubernetes,
            _ => true,
        }
    }

    /// It is the agent's process, so that another of the kind beside it would leave nobody to thaw.
    pub(super) fn is_agents(self) -> bool {
        matches!(
            self,
            Self::WorkerKilled
                | Self::WorkerStopped
                | Self::SupervisorKilled
                | Self::SupervisorStopped
                | Self::ContainerKilled
                | Self::AgentUpdated
        )
    }

    /// The plugin's, or of whoever runs it.
    pub(super) fn is_plugins(self) -> bool {
        matches!(
            self,
            Self::PluginKilled
                | Self::PluginStopped
                | Self::PluginTerminated
                | Self::HostCancels
                | Self::HostKilled
        )
    }

    /// Azure's.
    pub(super) fn is_azures(self) -> bool {
        matches!(
            self,
            Self::AzureThrottles
                | Self::AzureErrs
                | Self::AzureBreaksOff
                | Self::AzureIsSlow
                | Self::AzureFails
                | Self::AzureHangs
        )
    }

    /// While it lasts nobody is there to thaw, or the kernel lets no thaw in.
    pub(super) fn hinders_thaws(self) -> bool {
        matches!(self, Self::ContainerKilled | Self::SlowDisk)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is no fault; expected one of {names}")
        })
    }
}
