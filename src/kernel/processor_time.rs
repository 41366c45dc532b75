//! The processor time that our own work takes. The time of others in between does not count, because it is no
//! guest's fault.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::time::ClockId;

/// The processor time of the calling thread.
pub fn processor_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

/// The same, and the time of all programs that this process has run. Only one thread runs programs (`nft`).
pub(in crate::kernel) fn of_thread_and_programs() -> Duration {
    let programs = getrusage(UsageWho::RUSAGE_CHILDREN);
    let programs = programs.map(|used| duration(used.user_time()) + duration(used.system_time()));
    processor_time() + programs.unwrap_or_default()
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the programs of another would count.
    #[test]
    fn waiting_is_free_and_a_program_costs_the_time_that_it_used() {
        let start = processor_time();
        std::thread::sleep(Duration::from_millis(50));
        assert!(processor_time() - start < Duration::from_millis(20));
        while processor_time() - start < Duration::from_millis(20) {}

        let start = of_thread_and_programs();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        assert!(std::process::Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(of_thread_and_programs() - start > Duration::from_millis(20));
    }
}
