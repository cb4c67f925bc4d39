//! Runner `fileserver`: what the master serves from its `file_roots`.

use saltern_value::Value;

use super::binding::Signature;
use super::{Body, Runner, RunnerCall};

const LISTING: Signature = Signature::of(&[], &["saltenv", "backend"]);

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[
    Runner {
        name: "fileserver.envs",
        doc: "The environments there are.\n\nCLI example: salt-run fileserver.envs",
        signature: Signature::of(&[], &["backend", "sources"]),
        body: Body::Blocking(envs),
    },
    Runner {
        name: "fileserver.file_list",
        doc: "The files of an environment (base).\n\nCLI example: salt-run fileserver.file_list",
        signature: LISTING,
        body: Body::Blocking(|call| Ok(call.shared.files.list(&env_of(call)?, ""))),
    },
    Runner {
        name: "fileserver.dir_list",
        doc: "The directories of an environment (base).\n\n\
              CLI example: salt-run fileserver.dir_list",
        signature: LISTING,
        body: Body::Blocking(|call| Ok(call.shared.files.dirs(&env_of(call)?, ""))),
    },
    Runner {
        name: "fileserver.empty_dir_list",
        doc: "The empty directories of an environment (base).\n\n\
              CLI example: salt-run fileserver.empty_dir_list",
        signature: LISTING,
        body: Body::Blocking(|call| Ok(call.shared.files.empty_dirs(&env_of(call)?, ""))),
    },
    Runner {
        name: "fileserver.symlink_list",
        doc: "The symbolic links of an environment (base) and their targets.\n\n\
              CLI example: salt-run fileserver.symlink_list",
        signature: LISTING,
        body: Body::Blocking(|call| Ok(call.shared.files.symlinks(&env_of(call)?, ""))),
    },
    Runner {
        name: "fileserver.update",
        doc: "Brings the file server up to date. Files are read when asked for, so there is \
              nothing to do.\n\nCLI example: salt-run fileserver.update",
        signature: Signature::of(&[], &["backend"]).and_extra(),
        body: Body::Blocking(|_| Ok(true.into())),
    },
    Runner {
        name: "fileserver.clear_cache",
        doc: "Clears the caches of the file server; there are none on disk.\n\n\
              CLI example: salt-run fileserver.clear_cache",
        signature: Signature::of(&[], &["backend"]),
        body: Body::Blocking(|_| Ok("No cache was cleared".into())),
    },
];

fn envs(call: &RunnerCall) -> Result<Value, String> {
    let envs = call.shared.files.envs();
    Ok(if call.args.truth("sources", false) { Value::from_iter([("roots", envs)]) } else { envs })
}

/// The environment asked for. Only the backend `roots` exists.
fn env_of(call: &RunnerCall) -> Result<String, String> {
    match call.args.text("backend").as_deref() {
        None | Some("roots") => Ok(call.args.text("saltenv").unwrap_or_else(|| "base".to_owned())),
        Some(other) => Err(format!("there is no file server backend {other}, only roots")),
    }
}
