//! The modules. To add one: a file (or folder) here with a `MODULE` table, and its lines below.

use crate::registry::Module;

mod cmd;
mod config;
mod cp;
mod event;
mod failover;
mod file;
mod grains;
mod r#match;
mod mine;
mod pillar;
mod publish;
mod saltutil;
mod schedule;
mod state;
mod status;
mod sys;
mod test;

/// Every module, in the order of their names.
pub(crate) static MODULES: &[&Module] = &[
    &cmd::MODULE,
    &config::MODULE,
    &cp::MODULE,
    &event::MODULE,
    &failover::MODULE,
    &file::MODULE,
    &grains::MODULE,
    &r#match::MODULE,
    &mine::MODULE,
    &pillar::MODULE,
    &publish::MODULE,
    &saltutil::MODULE,
    &schedule::MODULE,
    &state::MODULE,
    &status::MODULE,
    &sys::MODULE,
    &test::MODULE,
];

/// Where a program is, as `cmd.which` finds it.
pub(crate) fn cmd_which(name: &str) -> Option<String> {
    cmd::find_program(name)
}
