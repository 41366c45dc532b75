//! Somebody takes away again and again what we make.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::{SOON, Ward};

/// Another program deletes our route whenever it sees it. We come back once a second, say so, and do not spin; when it
/// ends all is well at once.
#[test]
fn a_program_that_keeps_deleting_our_route() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    let host = &ward.site.host;
    let (began, used) = (SystemTime::now(), ward.node.processor_time()?);
    let lines = ward.node.daemon.mark();
    let mut foe = host.spawn(&["sh", "-c", "while :; do ip route del 192.168.77.101 2>/dev/null; done"])?;
    let status = ward.node.wait("a fight is reported", |status| {
        status["problems"]
            .as_array()
            .is_some_and(|all| all.iter().any(|problem| problem["code"] == "undone-by-others"))
    })?;
    let problem = &status["problems"][0];
    ensure!(problem["message"].as_str().is_some_and(|text| text.contains("192.168.77.101")), "{problem}");
    std::thread::sleep(Duration::from_secs(5));
    let used = ward.node.processor_time()? - used;
    let lines = ward.node.daemon.mark() - lines;
    let seconds = began.elapsed()?.as_secs_f64();
    println!(
        "a fight of {seconds:.1} s: {lines} lines in the log, {} ms of processor time",
        used.as_millis()
    );
    ensure!(used.as_secs_f64() < seconds / 5.0, "it spins: {used:?} of {seconds:.1} s");
    ensure!(lines < 60, "the log is flooded: {lines} lines in {seconds:.1} s");
    let from_guest_v6 = ward.guest.pings(super::HOST_V6);
    ensure!(from_guest_v6, "what nobody fights over suffers");

    foe.kill()?;
    talk.goes_on("the fight over", SystemTime::now()).with_context(|| ward.story())?;
    ward.is_well(SOON)?;
    ward.node
        .wait("the fight is forgotten", |status| status["problems"].as_array().is_some_and(Vec::is_empty))?;
    Ok(())
}
