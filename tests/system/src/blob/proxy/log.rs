//! What passed through.

use std::time::Instant;

use http::{HeaderMap, Request, StatusCode};

use super::fault::Action;

/// A request.
#[derive(Clone, Debug)]
pub struct Record {
    /// GET, PUT, ….
    pub method: String,
    /// As sent.
    pub path: String,
    /// As sent; a signed URL's signature is in it.
    pub query: String,
    /// All but `authorization`.
    pub headers: HeaderMap,
    /// Of the answer; none before, and if the connection was closed instead.
    pub status: Option<StatusCode>,
    /// So many bytes of its body were passed on, or read if it was refused.
    pub sent: u64,
    /// So many bytes of the answer's body were passed back.
    pub received: u64,
    /// When it came.
    pub began: Instant,
    /// When its answer had been passed back, or its connection was closed; none before.
    pub ended: Option<Instant>,
    /// The faults that it met.
    pub faults: Vec<String>,
}

impl Record {
    /// A query parameter, as sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        Some(parameters.find(|(key, _)| *key == name)?.1)
    }

    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    first: usize,
    records: Vec<Record>,
    most: usize,
}

impl Log {
    pub(super) fn open<B>(&mut self, request: &Request<B>, faults: &[Action]) -> usize {
        let mut headers = request.headers().clone();
        headers.remove("authorization");
        self.records.push(Record {
            method: request.method().to_string(),
            path: request.uri().path().into(),
            query: request.uri().query().unwrap_or_default().into(),
            headers,
            status: None,
            sent: 0,
            received: 0,
            began: Instant::now(),
            ended: None,
            faults: faults.iter().map(ToString::to_string).collect(),
        });
        self.most = self.most.max(self.open_now());
        self.first + self.records.len() - 1
    }

    /// The record of a request, unless the log was cleared since.
    pub(super) fn get(&mut self, number: usize) -> Option<&mut Record> {
        self.records.get_mut(number.checked_sub(self.first)?)
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.records.clone()
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.most
    }

    pub(super) fn clear(&mut self) {
        self.first += self.records.len();
        self.records.clear();
        self.most = 0;
    }

    fn open_now(&self) -> usize {
        let open = self.records.iter().filter(|record| record.ended.is_none());
        open.count()
    }
}
