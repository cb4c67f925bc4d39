//! Opening of the embedded databases: private files, write-ahead log, and a damaged file is moved
//! aside so that the service goes on.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use saltern_base::time;

use crate::StoreError;

/// What tells one of our databases from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// For messages: `job cache`.
    pub(crate) name: &'static str,
    /// `PRAGMA application_id`
    pub(crate) application: i32,
    /// `PRAGMA user_version`; a file with a greater one is refused.
    pub(crate) version: i32,
    /// Makes the tables of an empty file.
    pub(crate) schema: &'static str,
    /// `PRAGMA synchronous`: `FULL` lasts over a power cut, `NORMAL` over a crash of the process.
    pub(crate) synchronous: &'static str,
}

/// Memory for pages, in KiB, per connection.
const CACHE_KIB: i64 = 512;
/// Files up to this size are checked as a whole at start; larger ones when damage shows.
const CHECKED_AT_START: u64 = 16 << 20;

/// Turns a database error into ours.
pub(crate) fn fail(what: &str, path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    let what = format!("{what} {}", path.display());
    move |e| StoreError::Database { what: what.clone(), message: e.to_string() }
}

/// Whether the error says that the file itself is damaged.
pub(crate) fn is_damage(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Opens `path` for writing, making it when it is missing and moving it aside when it is damaged.
pub(crate) fn open_or_renew(path: &Path, kind: Kind) -> Result<Connection, StoreError> {
    match open(path, kind) {
        Ok(db) => Ok(db),
        Err(OpenError::Damaged(message)) => {
            move_aside(path, kind, &message)?;
            open(path, kind).map_err(|e| match e {
                OpenError::Other(e) => e,
                OpenError::Damaged(message) => {
                    StoreError::Database { what: format!("open {}", path.display()), message }
                }
            })
        }
        Err(OpenError::Other(e)) => Err(e),
    }
}

/// Moves a damaged file and its log out of the way, loudly.
pub(crate) fn move_aside(path: &Path, kind: Kind, message: &str) -> Result<(), StoreError> {
    let stamp = time::stamp(SystemTime::now()).replace(':', "");
    let aside = suffixed(path, &format!(".damaged-{stamp}"));
    log::error!(
        target: "critical",
        "the {} {} is damaged ({message}); it is kept as {} and a new one begins empty",
        kind.name,
        path.display(),
        aside.display()
    );
    fs::rename(path, &aside).map_err(|e| StoreError::io("move aside", path, e))?;
    // A log left behind would be played into the new file.
    for log in ["-wal", "-shm"] {
        let from = suffixed(path, log);
        if from.exists() {
            fs::rename(&from, suffixed(&aside, log))
                .map_err(|e| StoreError::io("move aside", &from, e))?;
        }
    }
    Ok(())
}

enum OpenError {
    Damaged(String),
    Other(StoreError),
}

fn open(path: &Path, kind: Kind) -> Result<Connection, OpenError> {
    let size = make_private(path).map_err(OpenError::Other)?;
    let sort = |e: rusqlite::Error| {
        if is_damage(&e) {
            OpenError::Damaged(e.to_string())
        } else {
            OpenError::Other(fail("open", path)(e))
        }
    };
    let db = connect(path).map_err(sort)?;
    // Must be said before the first table is made.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(sort)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(sort)?;
    db.pragma_update(None, "synchronous", kind.synchronous).map_err(sort)?;
    // A page that does not fit into the cache would be written twice: transactions are short.
    db.pragma_update(None, "cache_spill", false).map_err(sort)?;
    // After a burst the log does not stay large.
    db.pragma_update(None, "journal_size_limit", 8 << 20).map_err(sort)?;
    let get = |name: &str| db.pragma_query_value(None, name, |r| r.get::<_, i32>(0)).map_err(sort);
    let (application, version) = (get("application_id")?, get("user_version")?);
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(sort)?;
    if tables == 0 {
        create_schema(&db, kind).map_err(sort)?;
        return Ok(db);
    }
    if application != kind.application || version > kind.version || version < 1 {
        return Err(OpenError::Other(StoreError::unusable(format!(
            "{} is no {} of this version (its version is {version}, known is {}); move it away or \
             start the newer program",
            path.display(),
            kind.name,
            kind.version
        ))));
    }
    if size <= CHECKED_AT_START {
        let verdict: String =
            db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(sort)?;
        if verdict != "ok" {
            return Err(OpenError::Damaged(verdict));
        }
    }
    Ok(db)
}

fn create_schema(db: &Connection, kind: Kind) -> rusqlite::Result<()> {
    // In one transaction: a crash leaves no file with half of its tables.
    let tx = db.unchecked_transaction()?;
    tx.execute_batch(kind.schema)?;
    tx.pragma_update(None, "application_id", kind.application)?;
    tx.pragma_update(None, "user_version", kind.version)?;
    tx.commit()
}

/// One more connection to a database that is open already, for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.set_prepared_statement_cache_capacity(16);
    Ok(db)
}

/// Makes the file with mode 0600 before sqlite does it with another one. Returns its size.
fn make_private(path: &Path) -> Result<u64, StoreError> {
    let attempt = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let meta = file.metadata()?;
        if meta.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        Ok(meta.len())
    };
    attempt().map_err(|e| StoreError::io("open", path, e))
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
