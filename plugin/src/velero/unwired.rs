//! Stands where the use cases will: opens nothing.

use serde_json::Value;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::snapshotter::{Config, CreateSnapshot, CreateVolume, Location, Locations, VolumeInfo};

/// No use cases yet.
#[derive(Debug, Error)]
#[error("this build of the plugin cannot open a VolumeSnapshotLocation")]
pub struct Unwired;

/// Never made.
#[derive(Debug)]
pub enum Nowhere {}

impl Locations for Unwired {
    type Location = Nowhere;
    type Error = Unwired;

    async fn open(&self, _: Config, _: CancellationToken) -> Result<Nowhere, Unwired> {
        Err(Unwired)
    }
}

impl Location for Nowhere {
    type Error = Unwired;

    async fn volume_info(
        &self,
        _: String,
        _: Option<String>,
        _: CancellationToken,
    ) -> Result<VolumeInfo, Unwired> {
        match *self {}
    }

    async fn create_snapshot(
        &self,
        _: CreateSnapshot,
        _: CancellationToken,
    ) -> Result<String, Unwired> {
        match *self {}
    }

    async fn delete_snapshot(&self, _: String, _: CancellationToken) -> Result<(), Unwired> {
        match *self {}
    }

    async fn create_volume(
        &self,
        _: CreateVolume,
        _: CancellationToken,
    ) -> Result<String, Unwired> {
        match *self {}
    }

    async fn volume_id(&self, _: Value, _: CancellationToken) -> Result<Option<String>, Unwired> {
        match *self {}
    }

    async fn set_volume_id(
        &self,
        _: Value,
        _: String,
        _: CancellationToken,
    ) -> Result<Value, Unwired> {
        match *self {}
    }
}
