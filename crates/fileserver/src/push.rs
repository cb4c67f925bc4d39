//! `_file_recv`: files minions push with `cp.push`, into `<cachedir>/minions/<id>/files`.

use std::path::Path;

use saltern_base::MinionId;
use saltern_value::Value;

/// Whether and how much may be pushed.
#[derive(Clone, Copy, Debug)]
pub struct PushSettings {
    /// `file_recv`
    pub allowed: bool,
    /// `file_recv_max_size`, in megabytes of 1,048,576 bytes.
    pub max_megabytes: u64,
}

/// One chunk of a pushed file.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// `path`: a list of path parts (one text is taken as one part).
    pub path: &'a Value,
    /// `loc`: where the chunk goes.
    pub offset: u64,
    /// `size`: of the whole file, when the minion says so.
    pub size: Option<u64>,
    /// `data`
    pub data: &'a [u8],
}

/// Takes pushed files.
#[derive(Debug)]
pub struct Receiver {}

impl Receiver {
    /// A receiver below `<cachedir>/minions`.
    #[must_use]
    pub fn new(_cachedir: &Path, _settings: PushSettings) -> Self {
        todo!()
    }

    /// Takes one chunk; `false` (as on the wire) for everything not allowed, too large, or with a
    /// path that would leave the minion's own directory.
    #[must_use]
    pub fn receive(&self, _minion: &MinionId, _push: &Push<'_>) -> bool {
        todo!()
    }
}
