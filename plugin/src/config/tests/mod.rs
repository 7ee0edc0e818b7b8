mod backup;
mod samples;
mod snapshot;

use std::collections::HashMap;

const SUBSCRIPTION: &str = "11111111-2222-3333-4444-555555555555";

fn config(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}
