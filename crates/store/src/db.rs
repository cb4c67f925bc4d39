//! Opening of the embedded databases.
