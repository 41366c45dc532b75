//! [`Config`] → TOML that reads back as the same configuration.

use std::fmt::{self, Display, Write};

use super::{Config, Parent};

impl Config {
    /// The whole configuration with every default spelt out.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write(&mut text, self);
        text
    }
}

fn write(to: &mut String, config: &Config) -> fmt::Result {
    let Config { servers, select, shim, parents, policy } = config;
    if servers.is_empty() {
        writeln!(to, "# no [[server]]: every known socket of this host is followed\n")?;
    }
    for socket in servers {
        writeln!(to, "[[server]]\nsocket = {}\n", quoted(socket.display()))?;
    }
    writeln!(to, "[select]")?;
    writeln!(to, "profiles = {}", list(&select.profiles))?;
    writeln!(to, "projects = {}", list(&select.projects))?;
    writeln!(to, "\n[shim]")?;
    writeln!(to, "addresses = {}", list(&shim.addresses))?;
    writeln!(to, "ipv6 = {}", shim.ipv6)?;
    writeln!(to, "keep = {}", shim.keep)?;
    for (name, parent) in parents {
        write_parent(to, name, parent)?;
    }
    writeln!(to, "\n[policy]")?;
    writeln!(to, "allow = {}", list(&policy.allow))?;
    writeln!(to, "deny = {}", list(&policy.deny))?;
    writeln!(to, "max_addresses = {}", policy.max_addresses)?;
    writeln!(to, "probe = {:?}", policy.probe.as_str())
}

/// Keys that the parent leaves to `[shim]` are left out.
fn write_parent(to: &mut String, name: &str, parent: &Parent) -> fmt::Result {
    writeln!(to, "\n[[parent]]\nname = {}", quoted(name))?;
    if let Some(addresses) = &parent.addresses {
        writeln!(to, "addresses = {}", list(addresses))?;
    }
    writeln!(to, "routes = {}", list(&parent.routes))?;
    match parent.keep {
        Some(keep) => writeln!(to, "keep = {keep}"),
        None => Ok(()),
    }
}

fn list<T: Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}

fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}
