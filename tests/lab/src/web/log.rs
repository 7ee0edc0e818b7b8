//! The request log: what came in, from whom, when, and what it was answered.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Call;
use crate::{Moment, fault::Action};

/// One request. `GET /lab/requests` lists them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Counts from 0.
    pub number: usize,
    /// GET, PUT, …
    pub method: String,
    /// As sent.
    pub path: String,
    /// Parameters in order; secrets are in none of them.
    pub query: Vec<(String, String)>,
    /// Of the answer; none while it runs, and if the connection was closed instead.
    pub status: Option<u16>,
    /// `error.code` of the answer.
    pub code: Option<String>,
    /// The client ID whose token it carried, once that was verified.
    pub principal: Option<String>,
    /// `User-Agent`.
    pub agent: Option<String>,
    /// When it arrived.
    pub arrived: Moment,
    /// When its answer was sent, or the connection closed.
    pub answered: Option<Moment>,
    /// `tags` of its body.
    pub tags: Option<BTreeMap<String, String>>,
    /// Read-only properties in its body, which Azure ignores.
    pub ignored: Vec<String>,
    /// Faults that it met.
    pub faults: Vec<String>,
}

/// All requests since the start or the last clear.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    first: usize,
    records: Vec<RequestRecord>,
}

impl RequestLog {
    pub(crate) fn open(&mut self, call: &Call, faults: &[Action]) -> usize {
        let number = self.first + self.records.len();
        let body = serde_json::from_slice::<serde_json::Value>(&call.body).ok();
        let tags = body.and_then(|body| serde_json::from_value(body.get("tags")?.clone()).ok());
        self.records.push(RequestRecord {
            number,
            method: call.method.to_string(),
            path: call.path.clone(),
            query: call.query.clone(),
            status: None,
            code: None,
            principal: None,
            agent: call.header("user-agent").map(Into::into),
            arrived: call.arrived,
            answered: None,
            tags,
            ignored: Vec::new(),
            faults: faults.iter().map(ToString::to_string).collect(),
        });
        number
    }

    /// The record of a request, unless the log was cleared since.
    pub(crate) fn get(&mut self, number: usize) -> Option<&mut RequestRecord> {
        self.records.get_mut(number.checked_sub(self.first)?)
    }

    pub(crate) fn close(&mut self, number: usize, status: Option<u16>, code: Option<String>) {
        if let Some(record) = self.get(number) {
            record.status = status;
            record.code = code;
            record.answered = Some(Moment::now());
        }
    }

    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        self.records.clone()
    }

    pub(crate) fn clear(&mut self) {
        self.first += self.records.len();
        self.records.clear();
    }
}
