//! Somebody deletes our objects again and again, as soon as they are back. We restore them once a second,
//! report it, and do not spin. When the fight ends everything is well at once.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::{HOST_V6, SOON, Talk, Ward};

impl Ward {
    /// Another program strikes the blow as often as it can. `named` is the object of the problem.
    fn fights(&self, talk: &Talk, blow: &str, named: &str, meanwhile: impl Fn() -> Result<()>) -> Result<()> {
        let (began, used) = (SystemTime::now(), self.node.processor_time()?);
        let lines = self.lines();
        let mut foe =
            self.site.host.spawn(&["sh", "-c", &format!("while :; do {blow} 2>/dev/null; done")])?;
        self.node.wait("a fight is reported", |status| {
            let problems = status["problems"].as_array().into_iter().flatten();
            let mut fights = problems.filter(|problem| problem["code"] == "undone-by-others");
            fights.any(|fight| fight["message"].as_str().is_some_and(|text| text.contains(named)))
        })?;
        std::thread::sleep(Duration::from_secs(3));
        meanwhile().with_context(|| self.story())?;
        let used = self.node.processor_time()? - used;
        let lines = self.lines() - lines;
        let seconds = began.elapsed()?.as_secs_f64();
        println!(
            "{blow}, for {seconds:.1} s: {lines} lines in the log, {} ms of processor time",
            used.as_millis()
        );
        ensure!(used.as_secs_f64() < seconds / 2.0, "it spins: {used:?} of {seconds:.1} s");
        let most = 100.0 + 15.0 * seconds;
        ensure!(
            (lines as f64) < most,
            "the log is flooded: {lines} lines in {seconds:.1} s: {}",
            self.story()
        );

        foe.kill()?;
        talk.goes_on("the fight over", SystemTime::now()).with_context(|| self.story())?;
        self.is_well(SOON)?;
        self.node.wait("the fight is forgotten", |status| {
            status["problems"].as_array().is_some_and(Vec::is_empty)
        })?;
        Ok(())
    }

    /// The number of lines in a log of the usual level.
    fn lines(&self) -> usize {
        self.node.daemon.output().iter().filter(|line| !line.contains(" DEBUG ")).count()
    }
}

#[test]
fn a_program_that_keeps_deleting_our_route() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    ward.fights(&talk, "ip route del 192.168.77.101", "192.168.77.101", || {
        ensure!(ward.guest.pings(HOST_V6), "traffic beside the fight is disturbed");
        Ok(())
    })
}

#[test]
fn a_program_that_keeps_deleting_our_shim() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    ward.fights(&talk, "ip link del mvs-eth0", "mvs-eth0", || Ok(()))
}

#[test]
fn a_program_that_keeps_deleting_our_filter() -> Result<()> {
    let ward = Ward::new()?;
    let talk = ward.talk()?;
    ward.fights(&talk, "nft delete table netdev macvlan_shim", "mvs-eth0", || {
        ensure!(ward.guest.pings(HOST_V6), "traffic is disturbed");
        Ok(())
    })
}

#[test]
fn a_program_that_keeps_deleting_our_rule() -> Result<()> {
    let ward = Ward::new()?;
    ward.site.host.sh("ip rule add fwmark 7 lookup 100 pref 1000")?;
    let talk = ward.talk()?;
    ward.fights(&talk, "ip rule del lookup 77", "rule", || {
        ensure!(ward.guest.pings(HOST_V6), "traffic beside the fight is disturbed");
        Ok(())
    })
}
