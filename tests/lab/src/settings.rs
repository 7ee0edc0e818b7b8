//! What a lab is started with. Durations are written `1.5s`, `20ms` or `10m`.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Settings; what is left out has its default. Those below `directory`, `pool`, `listen`, `imds` and
/// `control` can be changed while the lab runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Where the pool's image, its mount point, `ca.pem` and `credentials` are; a temporary one if none.
    pub directory: Option<PathBuf>,
    /// Size of the xfs that holds all disks, in MiB (sparse; 65536).
    pub pool: u64,
    /// Address of the HTTPS door (a free loopback port).
    pub listen: SocketAddr,
    /// Address of the instance metadata service over HTTP (a free loopback port).
    pub imds: SocketAddr,
    /// Address of the control API over HTTP (a free loopback port).
    pub control: SocketAddr,
    /// Seeds all that is random.
    pub seed: u64,
    /// Time that requests take.
    pub latency: Latency,
    /// How snapshots are made.
    pub snapshot: SnapshotSettings,
    /// From accepting a disk until Succeeded (1.5s).
    #[serde(with = "duration")]
    pub disk_duration: Duration,
    /// From accepting a PATCH or a PUT that changes until Succeeded (0).
    #[serde(with = "duration")]
    pub update_duration: Duration,
    /// From accepting a DELETE until gone (500ms).
    #[serde(with = "duration")]
    pub delete_duration: Duration,
    /// Seconds of Retry-After with a 202 of a disk, an update or a delete; none, as recorded of Azure.
    pub retry_after: Option<u32>,
    /// Request limits; none: off.
    pub limits: Option<Limits>,
    /// Incremental snapshots.
    pub incremental: Incremental,
    /// How long a token is good for (1h).
    #[serde(with = "duration")]
    pub token_lifetime: Duration,
    /// Resources on one page of a list (1000).
    pub page_size: usize,
    /// Regions with their zones.
    pub regions: BTreeMap<String, Vec<String>>,
    /// What the subscriptions cannot have: a SKU of disks in a zone (`1`).
    pub withheld: Vec<(crate::Sku, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let zonal = ["westeurope", "northeurope", "eastus", "germanywestcentral"];
        let zoneless = ["westus", "northcentralus"];
        let zones = || ["1", "2", "3"].map(String::from).to_vec();
        Self {
            directory: None,
            pool: 65536,
            listen: any,
            imds: any,
            control: any,
            seed: 0,
            latency: Latency::default(),
            snapshot: SnapshotSettings::default(),
            disk_duration: Duration::from_millis(1500),
            update_duration: Duration::ZERO,
            delete_duration: Duration::from_millis(500),
            retry_after: None,
            limits: None,
            incremental: Incremental::default(),
            token_lifetime: Duration::from_secs(3600),
            page_size: 1000,
            regions: zonal
                .map(|name| (name.into(), zones()))
                .into_iter()
                .chain(zoneless.map(|name| (name.into(), Vec::new())))
                .collect(),
            withheld: Vec::new(),
        }
    }
}

impl Settings {
    /// Everything at once: no latency, every operation takes a few milliseconds.
    pub fn fast() -> Self {
        Self {
            latency: Latency {
                read: Duration::ZERO,
                write: Duration::ZERO,
            },
            snapshot: SnapshotSettings {
                duration: Duration::from_millis(30),
                ..SnapshotSettings::default()
            },
            disk_duration: Duration::from_millis(10),
            delete_duration: Duration::from_millis(10),
            ..Self::default()
        }
    }
}

/// Time that requests take. A write is handled when it arrives and answered that much later; a read
/// sees the state of half-way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Latency {
    /// GET, and tokens (20ms).
    #[serde(with = "duration")]
    pub read: Duration,
    /// PUT, PATCH, POST, DELETE (50ms).
    #[serde(with = "duration")]
    pub write: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            read: Duration::from_millis(20),
            write: Duration::from_millis(50),
        }
    }
}

/// How snapshots are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SnapshotSettings {
    /// From the arrival of the PUT until Succeeded (1.5s).
    #[serde(with = "duration")]
    pub duration: Duration,
    /// When in that time the data is cut (random).
    pub cut: Cut,
    /// The background copy of PremiumV2 and Ultra, from Succeeded until 100 percent (5s).
    #[serde(with = "duration")]
    pub copy: Duration,
    /// The status of the PUT's answer, 202 or 201 (202).
    pub status: u16,
    /// Seconds of Retry-After on the PUT's answer and the running operation (none).
    pub retry_after: Option<u32>,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self {
            duration: Duration::from_millis(1500),
            cut: Cut::Random,
            copy: Duration::from_secs(5),
            status: 202,
            retry_after: None,
        }
    }
}

/// When a snapshot's data is cut: `"random"`, or `{"at": 0.5}`, a fraction of the time between
/// acceptance and Succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cut {
    /// Anywhere in between, by the seed.
    Random,
    /// At this fraction, 0 to 1.
    At(f64),
}

/// Rules for incremental snapshots of one disk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Incremental {
    /// At most so many in `window` (7).
    pub most: usize,
    /// (5m)
    #[serde(with = "duration")]
    pub window: Duration,
    /// At most so many of one disk (500).
    pub total: usize,
}

impl Default for Incremental {
    fn default() -> Self {
        Self {
            most: 7,
            window: Duration::from_secs(300),
            total: 500,
        }
    }
}

/// Request buckets of each subscription and principal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// GET (250, 25 a second).
    pub reads: Bucket,
    /// PUT, PATCH, POST (200, 10 a second).
    pub writes: Bucket,
    /// DELETE (200, 10 a second).
    pub deletes: Bucket,
    /// The disk provider's own limit on creating snapshots and disks, in `x-ms-ratelimit-remaining-resource`
    /// (none; 240 refilled 1.33 a second is what headers of Azure suggest).
    pub resource: Option<Bucket>,
}

impl Default for Limits {
    fn default() -> Self {
        let writes = Bucket {
            capacity: 200,
            refill: 10.0,
        };
        Self {
            reads: Bucket {
                capacity: 250,
                refill: 25.0,
            },
            writes,
            deletes: writes,
            resource: None,
        }
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Requests at once.
    pub capacity: u32,
    /// Requests a second.
    pub refill: f64,
}

pub(crate) mod duration {
    //! `1.5s`, `20ms`, `10m` in JSON.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", value.as_secs_f64() * 1000.0))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no duration; expected 1.5s, 20ms or 10m"
            ))
        })
    }

    fn parse(text: &str) -> Option<Duration> {
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (number, scale) = units
            .iter()
            .find_map(|(unit, scale)| text.strip_suffix(unit).map(|number| (number, *scale)))
            .or((text == "0").then_some((text, 1.0)))?;
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_round_trip() {
        let settings = Settings {
            limits: Some(Limits::default()),
            ..Settings::fast()
        };
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<Settings>(&text).unwrap(),
            settings,
            "{text}"
        );
    }

    #[test]
    fn bad_settings_name_the_fault() {
        let cases = [
            (r#"{"snapshot":{"duration":"soon"}}"#, "soon"),
            (r#"{"snaphsot":{}}"#, "snaphsot"),
            (r#"{"latency":{"read":20}}"#, "expected a string"),
        ];
        for (text, expected) in cases {
            let error = serde_json::from_str::<Settings>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
