//! Stories told in simulated time: masters die, hang, refuse, hold keys back; the machine must
//! always come to rest on one that works, without haste and without giving up.

mod detection;
mod leave;
mod lossy;
mod random;
mod search;
mod standby;
mod world;
