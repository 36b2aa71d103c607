//! The store in a database: its rules, one by one, on real servers.
