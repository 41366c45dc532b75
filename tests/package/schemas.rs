//! The JSON schemas that are installed.

use anyhow::{Context, Result, anyhow, ensure};
use boon::{Compiler, Schemas};
use lab::Kind;
use serde_json::{Value, json};

use crate::node::Node;

/// What the commands print is as the schemas say, and they would notice if it were not.
#[test]
fn they_describe_what_the_commands_print() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    let guest = node.launch(Kind::Lxd)?;
    node.install()?;
    node.meets(&guest)?;
    // What is there when the daemon begins to look is no change.
    node.wait("it is ready", |status| status["ready"] == true)?;
    guest.sh("ip addr add 10.20.30.40/32 dev eth0")?;
    let status = node.wait("a problem stands", |status| status["problems"] != json!([]))?;
    holds(&node, "status", &status)?;
    let mut renamed = status.clone();
    let object = renamed.as_object_mut().context("the status is no object")?;
    let guests = object.remove("guests").context("there are no guests")?;
    object.insert("instances".to_owned(), guests);
    ensure!(holds(&node, "status", &renamed).is_err(), "a renamed key was not noticed");

    for subject in ["192.168.77.12", "10.20.30.40", guest.name()] {
        // The exit status tells whether it is reached.
        let explained = node.host.sh(&format!("macvlan-shim explain --json {subject} || true"))?;
        holds(&node, "explain", &serde_json::from_str(&explained)?)?;
    }

    let events = node.host.sh("macvlan-shim events --json")?;
    ensure!(events.lines().count() > 2, "{events}");
    for line in events.lines() {
        holds(&node, "event", &serde_json::from_str(line)?)?;
    }
    Ok(())
}

fn holds(node: &Node, name: &str, value: &Value) -> Result<()> {
    let path = format!("/usr/share/macvlan-shim/schemas/{name}.schema.json");
    let schema: Value = serde_json::from_str(&node.host.sh(&format!("cat {path}"))?)?;
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.enable_format_assertions();
    let wrong = |error: &dyn std::fmt::Display| anyhow!("{path}: {error:#}\n{value:#}");
    compiler.add_resource(&path, schema).map_err(|error| wrong(&error))?;
    let index = compiler.compile(&path, &mut schemas).map_err(|error| wrong(&error))?;
    schemas.validate(value, index).map_err(|error| wrong(&error))
}
