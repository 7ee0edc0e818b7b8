//! Faults at random moments between freeze and thaw, on real filesystems: `chaos [--rounds N] [--seed S] [--lanes L]
//! [--only FAULT]`. Fails if a round does.

use std::{env, fmt, process::ExitCode, str::FromStr};

use anyhow::{Context as _, Result, bail};
use stillpoint_loopfs::missing;
use stillpoint_system::chaos::{self, Fault, Options};

fn main() -> ExitCode {
    if let Some(why) = missing() {
        eprintln!("The campaign cannot run here: {why}");
        return ExitCode::FAILURE;
    }
    match options().and_then(|options| chaos::run(&options)) {
        Ok(tally) => {
            println!("{tally}");
            ExitCode::from(u8::from(!tally.failures().is_empty()))
        }
        Err(error) => {
            eprintln!("The campaign failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options {
        rounds: 100,
        seed: 1,
        lanes: 3,
        only: None,
    };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next();
        let value = value.with_context(|| format!("{name}: expected a value"))?;
        match name.as_str() {
            "--rounds" => options.rounds = number(&name, &value)?,
            "--seed" => options.seed = number(&name, &value)?,
            "--lanes" => options.lanes = number(&name, &value)?,
            "--only" => options.only = Some(number::<Fault>(&name, &value)?),
            _ => bail!("{name}: expected --rounds, --seed, --lanes or --only"),
        }
    }
    Ok(options)
}

fn number<T: FromStr<Err: fmt::Display>>(name: &str, value: &str) -> Result<T> {
    let parsed = value.parse();
    parsed.map_err(|error| anyhow::anyhow!("{name} {value}: {error}"))
}
