//! Requests that are answered where they are read: the clear `ping`, by which minions watch their
//! master. Thousands of them come in a second from a large fleet that has nothing else to do.

use saltern_wire::command::ClearCommand;
use saltern_wire::envelope::{self, Envelope};
use saltern_wire::{limits, reply};

/// Longest request that is looked at.
const LONGEST: usize = 256;
/// What every `ping` has in it: the packed word.
const WORD: &[u8] = b"\xa4ping";

/// The answer to a clear `ping`, as [`crate::dispatch`] gives it; `None` for all else.
pub(crate) fn answer(body: &[u8]) -> Option<Vec<u8>> {
    let likely = body.len() <= LONGEST && body.windows(WORD.len()).any(|bytes| bytes == WORD);
    let parsed = likely.then(|| envelope::parse(body, limits::STRANGER))?;
    let Ok(Envelope::Clear(request)) = parsed else { return None };
    match ClearCommand::parse(request) {
        Ok(ClearCommand::Ping(load)) => Some(reply::map(&load)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use saltern_value::{Map, Value};

    fn request(enc: &str, load: Map) -> Vec<u8> {
        let version = Value::Int(saltern_wire::limits::PROTOCOL_VERSION);
        let members = [("enc", Value::from(enc)), ("load", load.into()), ("version", version)];
        reply::map(&Map::from(members))
    }

    #[test]
    fn only_a_clear_ping_is_answered() {
        let ping = Map::from([("cmd", "ping"), ("more", "x")]);
        assert_eq!(answer(&request("clear", ping.clone())), Some(reply::map(&ping)));
        assert_eq!(answer(&request("aes", ping)), None);
        assert_eq!(answer(&request("clear", Map::from([("cmd", "_auth"), ("id", "ping")]))), None);
        let long = Map::from([("cmd", "ping".to_owned()), ("pad", "x".repeat(LONGEST))]);
        assert_eq!(answer(&request("clear", long)), None);
        assert_eq!(answer(b"\xa4ping"), None);
        assert_eq!(answer(b""), None);
    }
}
