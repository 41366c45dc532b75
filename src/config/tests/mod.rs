//! Good files, and the errors that faulty ones get.

mod documents;
mod files;
mod good;
mod keys;
mod shown;
mod together;
mod types;
mod values;

use std::net::IpAddr;

use ipnet::IpNet;

use super::*;

fn read(text: &str) -> Config {
    Config::parse(text, Path::new("c.toml")).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    Config::parse(text, Path::new("c.toml")).map(|config| panic!("{config:?}")).unwrap_err().to_string()
}
