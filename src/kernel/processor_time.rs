//! How much of a processor our own work takes.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::time::ClockId;

/// What this thread and the programs that it has run (`nft`) have had of a processor. That others have it meanwhile is no
/// guest's error.
pub fn processor_time() -> Duration {
    let own = ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default();
    let programs = getrusage(UsageWho::RUSAGE_CHILDREN);
    own + programs.map(|used| duration(used.user_time()) + duration(used.system_time())).unwrap_or_default()
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the programs of another would count.
    #[test]
    fn waiting_costs_a_guest_nothing_and_a_program_what_it_used() {
        let start = processor_time();
        std::thread::sleep(Duration::from_millis(50));
        assert!(processor_time() - start < Duration::from_millis(20));
        while processor_time() - start < Duration::from_millis(20) {}

        let start = processor_time();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        assert!(std::process::Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(processor_time() - start > Duration::from_millis(20));
    }
}
