//! From the holds' types to the wire's.

use std::time::{Duration, SystemTime};

use stillpoint_proto::agent::{
    FrozenFilesystem, Hold, JournalEntry, Mount, VolumeFreeze, VolumeThaw,
    volume_freeze::Outcome as Frozen,
};
use tokio::time::Instant;

use crate::{
    error::HoldError,
    freeze::{Lease, Outcome, Span},
    hold::Info,
    journal::{Entry, State},
    mountinfo,
    volume::Listed,
};

fn duration(duration: Duration) -> prost_types::Duration {
    // Fails only beyond the age of the universe.
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

pub(super) fn freeze((volume, lease): &(String, Result<Lease, HoldError>)) -> VolumeFreeze {
    let outcome = match lease {
        Ok(lease) => lease
            .span()
            .map(|span| Frozen::Frozen(filesystem(&lease.target().mount, span, lease.deadline()))),
        Err(error) => Some(Frozen::Refused(error.refusal())),
    };
    VolumeFreeze {
        volume: volume.clone(),
        outcome,
    }
}

pub(super) fn filesystem(
    mount: &mountinfo::Mount,
    span: Span,
    deadline: Instant,
) -> FrozenFilesystem {
    FrozenFilesystem {
        filesystem: mount.filesystem.clone(),
        mount_point: mount.point.to_string_lossy().into_owned(),
        device: mount.device.to_string(),
        freeze_took: Some(duration(span.took)),
        remaining: Some(duration(deadline.saturating_duration_since(Instant::now()))),
    }
}

pub(super) fn thaw(volume: String, outcome: Outcome) -> VolumeThaw {
    VolumeThaw {
        volume,
        frozen_for: Some(duration(outcome.frozen_for)),
        held: outcome.lost.is_none(),
        reason: outcome.lost.unwrap_or_default(),
    }
}

pub(super) fn mount((listed, frozen): (Listed, bool)) -> Mount {
    let mount = listed.mount;
    let text =
        |field: fn(&mountinfo::Mount) -> String| mount.as_ref().map(field).unwrap_or_default();
    Mount {
        volume: listed.volume,
        mount_point: text(|mount| mount.point.to_string_lossy().into_owned()),
        filesystem: text(|mount| mount.filesystem.clone()),
        device: text(|mount| mount.device.to_string()),
        frozen,
        refusal: listed.refusal.as_ref().map(HoldError::refusal),
    }
}

pub(super) fn hold(info: Info) -> Hold {
    let remaining = info.deadline.saturating_duration_since(Instant::now());
    Hold {
        hold_id: info.request.id,
        volumes: info.request.volumes,
        holder: info.request.holder,
        since: Some(info.since.into()),
        remaining: Some(duration(remaining)),
    }
}

pub(super) fn journal(entry: Entry) -> JournalEntry {
    JournalEntry {
        device: entry.device.to_string(),
        mount_point: entry.mount_point.to_string_lossy().into_owned(),
        state: match entry.state {
            // FIFREEZE has begun or is about to; whether it succeeded is not written down yet.
            State::Intent | State::Freezing => "intent".into(),
            State::Frozen => "frozen".into(),
        },
        since: Some((SystemTime::UNIX_EPOCH + Duration::from_secs(entry.since)).into()),
    }
}
