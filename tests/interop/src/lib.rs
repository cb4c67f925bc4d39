//! Black-box tests against real Salt.
