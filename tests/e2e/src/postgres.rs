//! A PostgreSQL server on a volume, Debian's, under pgbench.

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

const PROGRAMS: &str = "/usr/lib/postgresql";
const USER: &str = "postgres";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// A running server; stopped without a checkpoint when dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    home: PathBuf,
}

/// A running pgbench; killed when dropped.
#[derive(Debug)]
pub struct Load(Child);

/// What is the same in every state that pgbench leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Of the deltas in the history: what every other is to be.
    pub history: i64,
    /// Of the balances of accounts.
    pub accounts: i64,
    /// Of tellers.
    pub tellers: i64,
    /// Of branches.
    pub branches: i64,
    /// Lines of the history.
    pub transactions: i64,
}

impl Sums {
    /// Each transaction is in all tables or in none.
    pub fn agree(&self) -> bool {
        [self.accounts, self.tellers, self.branches]
            .iter()
            .all(|sum| *sum == self.history)
    }
}

/// Why there is no PostgreSQL here, or `None` if there is one.
pub fn missing() -> Option<String> {
    let found = program("postgres")
        .and_then(|_| program("pgbench"))
        .and_then(|_| user());
    found.err().map(|why| format!("{why:#}"))
}

impl Postgres {
    /// A new database on the volume mounted at `volume`, filled for pgbench. Socket and log are in `home`.
    pub fn create(volume: &Path, home: &Path) -> Result<Self> {
        let (uid, gid) = user()?;
        let data = data(volume);
        fs::create_dir_all(&data)?;
        chown(&data, Some(uid), Some(gid))?;
        let mut initdb = as_user("initdb")?;
        initdb.arg("--pgdata").arg(&data);
        initdb.args(["--auth=trust", "--encoding=UTF8", "--no-locale"]);
        finish(initdb)?;
        let postgres = Self::start(volume, home)?;
        finish(postgres.client("pgbench", &["--initialize", "--quiet"])?)?;
        Ok(postgres)
    }

    /// Starts the server on what is there, replaying its write-ahead log if it must, and waits until it answers.
    pub fn start(volume: &Path, home: &Path) -> Result<Self> {
        let (uid, gid) = user()?;
        fs::create_dir_all(home)?;
        chown(home, Some(uid), Some(gid))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(home.join("postgres.log"))?;
        let mut command = as_user("postgres")?;
        command.arg("-D").arg(data(volume)).arg("-k").arg(home);
        // Its data are small; its log is to be too.
        command.args(["-c", "listen_addresses=", "-c", "max_wal_size=64MB"]);
        command.stdout(log.try_clone()?).stderr(log);
        let mut postgres = Self {
            server: command.process_group(0).spawn()?,
            home: home.to_owned(),
        };
        let started = Instant::now();
        while let Err(error) = postgres.query("SELECT 1") {
            if let Some(status) = postgres.server.try_wait()? {
                bail!("PostgreSQL ended ({status}):\n{}", postgres.log());
            }
            if started.elapsed() > STARTS_WITHIN {
                bail!("{error:#}\n{}", postgres.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(postgres)
    }

    /// pgbench with two clients, for as long as it is let.
    pub fn load(&self) -> Result<Load> {
        let mut pgbench = self.client("pgbench", &["--client=2", "--time=3600", "--no-vacuum"])?;
        pgbench.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Load(pgbench.process_group(0).spawn()?))
    }

    /// What pgbench's tables add up to.
    pub fn sums(&self) -> Result<Sums> {
        let sums = self.query(
            "SELECT coalesce(sum(delta), 0), (SELECT sum(abalance) FROM pgbench_accounts), \
             (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches), \
             count(*) FROM pgbench_history",
        )?;
        let numbers: Result<Vec<i64>, _> = sums.trim().split('|').map(str::parse).collect();
        let [history, accounts, tellers, branches, transactions] = numbers?[..] else {
            bail!("not five numbers: {sums}")
        };
        Ok(Sums {
            history,
            accounts,
            tellers,
            branches,
            transactions,
        })
    }

    /// Reads every block of every table and index as `pg_amcheck` does.
    pub fn check(&self) -> Result<()> {
        finish(self.client("pg_amcheck", &["--install-missing", "--heapallindexed"])?).map(drop)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("postgres.log")).unwrap_or_default()
    }

    fn query(&self, sql: &str) -> Result<String> {
        finish(self.client(
            "psql",
            &["--no-psqlrc", "--tuples-only", "--no-align", "-c", sql],
        )?)
    }

    fn client(&self, name: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = as_user(name)?;
        command
            .args(arguments)
            .env("PGHOST", &self.home)
            .env("PGDATABASE", USER);
        Ok(command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: at once, and its processes with it, which otherwise are found orphaned for a moment.
        end(&mut self.server, "QUIT");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        end(&mut self.0, "TERM");
    }
}

fn end(child: &mut Child, signal: &str) {
    let tell = |signal: &str, whom: String| {
        let _ = Command::new("kill")
            .args(["-s", signal, "--", &whom])
            .output();
    };
    tell(signal, child.id().to_string());
    let told = Instant::now();
    while told.elapsed() < STOPS_WITHIN {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Ok(Some(_)) | Err(_) => return,
        }
    }
    tell("KILL", format!("-{}", child.id()));
    let _ = child.wait();
}

fn data(volume: &Path) -> PathBuf {
    volume.join("postgresql")
}

/// The newest that is installed.
fn program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir(PROGRAMS).into_iter().flatten().flatten();
    let newest = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .max();
    newest.with_context(|| {
        format!("{name} is not below {PROGRAMS}: `make setup` installs PostgreSQL")
    })
}

/// UID and GID of the user that Debian makes for it; it refuses to run as root.
fn user() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line
        .context("there is no user postgres")?
        .split(':')
        .skip(2);
    let mut number = || fields.next().and_then(|number| number.parse().ok());
    match (number(), number()) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => Err(io::Error::other("the user postgres has no numbers").into()),
    }
}

/// Ends with the thread that starts it, at the latest.
fn as_user(name: &str) -> Result<Command> {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--init-groups"])
        .args(["--pdeathsig", "QUIT", "--"])
        .arg(program(name)?)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null());
    Ok(command)
}

fn finish(mut command: Command) -> Result<String> {
    let output = command.output().context("cannot run setpriv")?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
